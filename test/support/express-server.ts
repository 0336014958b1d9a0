/** Express 4 and 5 on real servers. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import type { Express } from "express";
import express4 from "express4";
import { afterEach } from "vitest";
import { idempotent } from "../../src/adapters/express.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

export const expresses: readonly (readonly [string, typeof express])[] = [
  ["Express 4", express4],
  ["Express 5", express],
];

/** Serves an app; every request is a POST with the key `k`, unless it says otherwise. */
export async function listenExpress(app: Express) {
  const server = createServer(app.set("env", "test")).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close() && server.closeAllConnections());
  const { port } = server.address() as AddressInfo;
  const post = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method: "POST",
      redirect: "manual",
      ...init,
      headers: { "idempotency-key": "k", ...init.headers },
    });
  return Object.assign(post, { port });
}

export const openEngine = (): Engine => createEngine({ store: memoryStore() });
export const guardExpress = () => idempotent(openEngine(), { scope: "public" });
