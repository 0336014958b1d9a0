/**
 * Valkey GLIDE 2: `GlideClient` and `GlideClusterClient`. It multiplexes, orders nothing, cannot be
 * copied and subscribes by configuration only: so commands that belong together go one by one, and
 * acknowledgement and wake-ups want a client of their own.
 */
import { keySlot } from "./key-slot.ts";
import { keyOf } from "./wire.ts";
import type { Master, Outcome, Wire, WireCommand } from "./wire.ts";

/** Valkey GLIDE: `await GlideClient.createClient({ … })`. */
export interface GlideClient {
  customCommand(args: (string | Buffer)[], options?: object): Promise<unknown>;
}
/** `await GlideClusterClient.createClient({ … })`. */
export interface GlideClusterClient extends GlideClient {
  invokeScriptWithRoute(...args: never[]): unknown;
}

const inBytes = { decoder: 0 }; // Decoder.Bytes

/** How to send through `GlideClient`. */
export function glideWire(client: GlideClient): Wire {
  const send: Wire["send"] = (command) => client.customCommand([...command], inBytes);
  return {
    send,
    masters: async () => [{ address: "", send }],
    isCluster: false,
    laneOf: () => "",
    exchange: (_key, commands) => oneByOne(send, commands),
    keyPrefix: "",
  };
}

/** How to send through `GlideClusterClient`. */
export function glideClusterWire(client: GlideClusterClient): Wire {
  const toMasterOf = (key: string | Buffer | undefined) => (command: WireCommand) => {
    const route = { type: "primarySlotKey", key: String(key) };
    return client.customCommand([...command], { ...inBytes, route });
  };
  return {
    send: (command) => toMasterOf(keyOf(command))(command),
    masters: () => mastersOf(client),
    isCluster: true,
    laneOf: (key) => String(keySlot(key)), // which node serves a slot is the client's secret
    exchange: (key, commands) => oneByOne(toMasterOf(key), commands),
    keyPrefix: "",
  };
}

async function oneByOne(
  send: Wire["send"],
  commands: readonly WireCommand[],
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const command of commands) {
    outcomes.push(...(await Promise.allSettled([send(command)])));
  }
  return outcomes;
}

async function mastersOf(client: GlideClusterClient): Promise<readonly Master[]> {
  const answers = await client.customCommand(["ROLE"], { route: "allPrimaries" });
  return (answers as readonly { readonly key: string }[]).map(({ key: address }) => {
    const colon = address.lastIndexOf(":");
    const [host, port] = [address.slice(0, colon), Number(address.slice(colon + 1))];
    const route = { type: "routeByAddress", host, port };
    const send: Master["send"] = (command) =>
      client.customCommand([...command], { ...inBytes, route });
    return { address, send };
  });
}
