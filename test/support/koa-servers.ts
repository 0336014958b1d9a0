/** Koa 2 and 3 on real servers, a chain of middlewares at each path. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import Koa from "koa";
import type { Middleware } from "koa";
import Koa2 from "koa2";
import { afterEach } from "vitest";
import { idempotent } from "../../src/adapters/koa.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

export const koas: readonly (readonly [string, typeof Koa])[] = [
  ["Koa 2", Koa2],
  ["Koa 3", Koa],
];

/** Serves each chain at its path; every request carries a key. */
export async function listenKoa(
  framework: typeof Koa,
  chains: Readonly<Record<string, Middleware[]>>,
) {
  const routes = Object.entries(chains).map(([path, chain]) => {
    const app = new framework();
    app.silent = true;
    for (const middleware of chain) app.use(middleware);
    return [path, app.callback()] as const;
  });
  const server = createServer((req, res) => {
    const found = routes.find(([path]) => (req.url ?? "").startsWith(path));
    void found?.[1](req, res);
  });
  server.listen(0, "127.0.0.1");
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
export const guardKoa = () => idempotent(openEngine(), { scope: "public" });
