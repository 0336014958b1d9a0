/** Hono on its Node server, on a real socket. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Hono, MiddlewareHandler } from "hono";
import { afterEach } from "vitest";
import { idempotent } from "../../src/adapters/hono.ts";
import type { HonoContext } from "../../src/adapters/hono.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine, EngineOptions } from "../../src/engine/engine.ts";
import type { HttpOptions } from "../../src/http/policy.ts";
import { memoryStore } from "../../src/stores/memory.ts";

type Init = Omit<RequestInit, "headers"> & {
  readonly headers?: Readonly<Record<string, string | undefined>>;
};

const closers: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

/** Serves an app; every request carries the key `k`, unless it names another or `undefined`. */
export async function listenHono(app: Hono) {
  const server = createAdaptorServer({ fetch: app.fetch }) as Server;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close() && server.closeAllConnections());
  const { port } = server.address() as AddressInfo;
  return (path: string, init: Init = {}): Promise<Response> => {
    const given = Object.entries({ "idempotency-key": "k", ...init.headers });
    const headers = given.filter((entry): entry is [string, string] => entry[1] !== undefined);
    const request: RequestInit = { method: "POST", redirect: "manual", ...init, headers };
    return fetch(`http://127.0.0.1:${port}${path}`, request);
  };
}

export const openEngine = (options: Partial<EngineOptions> = {}): Engine =>
  createEngine({ store: memoryStore(), ...options });

export const guardHono = (options: Partial<HttpOptions<HonoContext>> = {}): MiddlewareHandler =>
  idempotent(openEngine(), { scope: "public", ...options });
