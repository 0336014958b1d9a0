// A TCP proxy that breaks on command: what stands between a client and a real server when a test
// needs a lost reply, a black hole or a reset. It knows bytes, no protocol.

import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/** A running proxy on a loopback port of its own. */
export interface TcpProxy {
  /** The port clients connect to instead of the target's. */
  readonly port: number;
  /** Connections open at the moment. */
  readonly connections: number;
  /**
   * Requests still reach the server; the next reply on each connection is dropped and the
   * connection destroyed, and so on until `heal()`.
   */
  cutReplies(): void;
  /** Nothing passes either way; connections stay open, new ones are accepted and silent. */
  blackhole(): void;
  /** Resets every open connection now, and every new one until `heal()`. */
  reset(): void;
  /** Lets new bytes pass again; what a black hole swallowed stays lost, so its links are closed. */
  heal(): void;
  /** Destroys all connections and stops listening. */
  close(): Promise<void>;
}

type Fault = "none" | "cut-replies" | "blackhole" | "reset";

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  swallowed: boolean;
}

interface ProxyState {
  fault: Fault;
  readonly links: Set<Link>;
}

/** Starts a proxy in front of `targetPort` on loopback. */
export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const state: ProxyState = { fault: "none", links: new Set() };
  const listener = createServer((client) => {
    if (state.fault === "reset") client.resetAndDestroy();
    else join(state, client, targetPort);
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    port: (listener.address() as AddressInfo).port,
    get connections() {
      return state.links.size;
    },
    cutReplies: () => void (state.fault = "cut-replies"),
    blackhole: () => void (state.fault = "blackhole"),
    reset() {
      state.fault = "reset";
      for (const link of state.links) sever(link);
    },
    heal() {
      state.fault = "none";
      for (const link of state.links) if (link.swallowed) sever(link);
    },
    async close() {
      const closed = once(listener, "close");
      listener.close();
      for (const link of state.links) sever(link);
      await closed;
    },
  };
}

function join(state: ProxyState, client: Socket, targetPort: number): void {
  const server = connect({ host: "127.0.0.1", port: targetPort, noDelay: true });
  const link: Link = { client, server, swallowed: false };
  state.links.add(link);
  client.setNoDelay(true);
  client.on("data", (bytes) => forward({ state, link, to: server }, bytes));
  server.on("data", (bytes) => {
    if (state.fault === "cut-replies") sever(link);
    else forward({ state, link, to: client }, bytes);
  });
  for (const [end, other] of [
    [client, server],
    [server, client],
  ] as const) {
    // A destroyed neighbour answers late writes with EPIPE or ECONNRESET; that is the point.
    end.on("error", () => end.destroy());
    end.on("close", () => {
      state.links.delete(link);
      other.destroy();
    });
  }
}

interface Passage {
  readonly state: ProxyState;
  readonly link: Link;
  readonly to: Socket;
}

function forward({ state, link, to }: Passage, bytes: Buffer): void {
  if (state.fault === "blackhole") link.swallowed = true;
  else if (!to.destroyed) to.write(bytes);
}

function sever(link: Link): void {
  link.client.resetAndDestroy();
  link.server.destroy();
}
