/**
 * node-redis 5 and 6: `createClient` and `createClientPool`. Its cluster and Sentinel clients are
 * in `node-redis-cluster.ts`.
 */
import { eventsOf, lent, quiet } from "./wire.ts";
import type { Emitter, Hearing, Listener, Outcome, OwnWire, Wire, WireCommand } from "./wire.ts";

/** node-redis: `await createClient().connect()`, `await createClientPool().connect()`. */
export interface NodeRedisClient {
  sendCommand(args: (string | Buffer)[], options?: object): Promise<unknown>;
}
/** The rest of a single client or pool. */
export interface NodeRedisSingle extends NodeRedisClient, Emitter {
  /** A pool's: lends one connection. */
  execute?<T>(work: (client: NodeRedisClient) => Promise<T>): Promise<T>;
  /** Whether it is connected, or goes on trying. */
  readonly isOpen?: boolean;
  duplicate?(): NodeRedisSingle;
  connect?(): Promise<unknown>;
  destroy?(): void;
  sSubscribe?(channel: string, hear: () => void): Promise<unknown>;
  sUnsubscribe?(channel: string, hear: () => void): Promise<unknown>;
}

const blobString = 36; // RESP's "$": node-redis's name for bulk strings in a type mapping
/** Options of a command whose bulk strings shall come back as Buffers. */
export const inBytes: object = { typeMapping: { [blobString]: Buffer } };

/** How to send through `createClient()` or `createClientPool()`. */
export function nodeRedisWire(client: NodeRedisSingle): Wire {
  const send: Wire["send"] = (command) => client.sendCommand([...command], inBytes);
  const pooled = typeof client.execute === "function";
  const copyable = typeof client.duplicate === "function" && !pooled;
  const wire: Wire = {
    send,
    masters: async () => [{ address: "", send }],
    isCluster: false,
    laneOf: () => "",
    exchange: (_key, commands) =>
      client.execute?.((one) => together(one, commands)) ?? together(client, commands),
    keyPrefix: "",
    onChange: eventsOf(client, "ready"),
  };
  if (pooled) {
    return { ...wire, duplicate: () => lent(wire) };
  }
  if (!copyable) return wire;
  return {
    ...wire,
    duplicate: () => ownWire(client),
    listen: (hearing) => listenOn(client, hearing),
  };
}

/** The commands on one connection: written in one tick they stay together, in this order. */
export async function together(
  client: NodeRedisClient,
  commands: readonly WireCommand[],
): Promise<readonly Outcome[]> {
  return Promise.allSettled(
    commands.map(async (command) => client.sendCommand([...command], inBytes)),
  );
}

function ownWire(client: NodeRedisSingle): OwnWire {
  const copy = duplicateOf(client);
  const opened = Promise.resolve(copy.connect?.());
  const isOver = (): boolean => copy.isOpen === false;
  return { ...nodeRedisWire(copy), opened, isOver, close: () => end(copy) };
}

/** Ends a client of our own. */
export function end(client: { destroy?(): void }): void {
  try {
    client.destroy?.();
  } catch {
    // node-redis 5 throws where it has given up connecting: then it has ended already.
  }
}

function duplicateOf(client: NodeRedisSingle): NodeRedisSingle {
  const copy = client.duplicate?.();
  if (copy === undefined) throw new TypeError("This client of node-redis cannot be duplicated.");
  return quiet(copy);
}

function listenOn(client: NodeRedisSingle, hearing: Hearing): Listener {
  let copy: NodeRedisSingle | undefined;
  let opening: Promise<unknown> | undefined;

  async function subscriber(): Promise<NodeRedisSingle> {
    if (copy?.isOpen === false) copy = opening = undefined; // it has given up connecting
    const made = (copy ??= duplicateOf(client));
    opening ??= Promise.resolve(made.connect?.()).then(() => made.on?.("ready", hearing.missed));
    await opening;
    return made;
  }

  return {
    ...channelsOf(hearing, subscriber),
    close: () => {
      if (copy !== undefined) end(copy);
      copy = opening = undefined;
    },
  };
}

export interface ShardedSubscriber {
  sSubscribe?(channel: string, hear: () => void): Promise<unknown>;
  sUnsubscribe?(channel: string, hear: () => void): Promise<unknown>;
}

/** Subscriptions with one listener each: node-redis knows them by their functions. */
export function channelsOf(
  { heard }: Hearing,
  subscriber: () => Promise<ShardedSubscriber>,
): Pick<Listener, "add" | "remove"> {
  const listeners = new Map<string, () => void>();
  return {
    add: async (channel) => {
      const hear = listeners.get(channel) ?? (() => heard(channel));
      listeners.set(channel, hear);
      await (await subscriber()).sSubscribe?.(channel, hear);
    },
    remove: async (channel) => {
      const hear = listeners.get(channel);
      if (hear === undefined) return;
      listeners.delete(channel);
      await (await subscriber()).sUnsubscribe?.(channel, hear);
    },
  };
}
