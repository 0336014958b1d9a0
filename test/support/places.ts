/** Places where a Node listener can run protected: each adapter on Node, on a real server. */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import express from "express";
import type { Express } from "express";
import express4 from "express4";
import fastify from "fastify";
import Koa from "koa";
import Koa2 from "koa2";
import { idempotent as guardExpress } from "../../src/adapters/express.ts";
import { idempotent as guardFastify } from "../../src/adapters/fastify.ts";
import type { FastifyRequest } from "../../src/adapters/fastify.ts";
import { idempotent as guardKoa } from "../../src/adapters/koa.ts";
import type { IdempotencyState, KoaContext } from "../../src/adapters/koa.ts";
import { idempotent } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine, EngineOptions } from "../../src/engine/engine.ts";
import type { Idempotency } from "../../src/http/execution.ts";
import type { HttpOptions } from "../../src/http/policy.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import { mountNest } from "./nest-servers.ts";
import type { Platform } from "./nest-servers.ts";
import { optionsBy } from "./options-by.ts";
import { portOf } from "./raw-socket.ts";

export type PlaceOptions = Partial<HttpOptions<IncomingMessage>>;
export type PlaceListener = (
  req: IncomingMessage,
  res: ServerResponse,
  idempotency?: Idempotency,
) => unknown;
export interface Protection {
  readonly engine: Engine;
  readonly options: HttpOptions<IncomingMessage>;
}
/** Serves a listener, protected or as it would be without Latchkey. */
type Mount = (listener: PlaceListener, protection?: Protection) => Server | Promise<Server>;

export interface Place {
  readonly mount: Mount;
  readonly engine?: Partial<EngineOptions>;
}
export interface Served extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly engine: Engine;
  readonly events: readonly string[];
  /** Posts with a key (or none); the body defaults to `"body"`. */
  readonly post: (
    key: string | undefined,
    init?: RequestInit & { readonly path?: string },
  ) => Promise<Response>;
  readonly close: () => Promise<void>;
}

const onNode: Mount = (listener, protection) => {
  if (protection === undefined) return createServer((req, res) => void listener(req, res));
  const { engine, options } = protection;
  const guarded = idempotent(engine, { operation: "POST /r", ...options }, listener);
  return createServer((req, res) => void guarded(req, res));
};

const onExpress =
  (framework: () => Express): Mount =>
  (listener, protection) => {
    const app = framework().set("env", "test"); // keeps its error handler from logging
    const guards = protection ? [guardExpress(protection.engine, protection.options)] : [];
    app.all("/r", ...guards, (req, res) => void listener(req, res, req.idempotency));
    return createServer(app);
  };

const onFastify: Mount = async (listener, protection) => {
  const server = createServer();
  const app = fastify({ serverFactory: (handler) => server.on("request", handler) });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null)); // the listener reads it
  if (protection !== undefined) {
    const options = optionsBy<FastifyRequest>((request) => request.raw, protection.options);
    await app.register(guardFastify(protection.engine, options));
  }
  app.all("/r", (request, reply) => {
    reply.hijack();
    const { idempotency } = request;
    // A hijacked reply is the listener's own affair; what it throws goes Fastify's way otherwise.
    void (async () => listener(request.raw, reply.raw, idempotency ?? undefined))().catch(() => {
      if (!reply.raw.headersSent) reply.raw.writeHead(500).end();
    });
  });
  await app.ready();
  return server;
};

const onKoa =
  (framework: typeof Koa): Mount =>
  (listener, protection) => {
    const app = new framework<IdempotencyState>();
    app.silent = true;
    if (protection !== undefined) {
      const options = optionsBy<KoaContext>((ctx) => ctx.req, protection.options);
      app.use(guardKoa(protection.engine, options));
    }
    app.use(async (ctx) => {
      ctx.respond = false;
      ctx.res.statusCode = 200;
      await listener(ctx.req, ctx.res, ctx.state.idempotency);
    });
    const serveKoa = app.callback();
    return createServer((req, res) => void serveKoa(req, res));
  };

const onNest =
  (platform: Platform): Mount =>
  (listener, protection) =>
    mountNest(platform, listener, protection);

const nest = process.env["NEST"] ?? "12";
/** Every place, whichever of them are tested now. */
export const everyPlace: readonly (readonly [string, Place])[] = [
  ["node, memory", { mount: onNode }],
  ["node, SQLite", { mount: onNode, engine: { store: sqliteStore(":memory:") } }],
  ["Express 4", { mount: onExpress(express4) }],
  ["Express 5", { mount: onExpress(express) }],
  ["Fastify 5", { mount: onFastify }],
  ["Koa 2", { mount: onKoa(Koa2) }],
  ["Koa 3", { mount: onKoa(Koa) }],
  [`Nest ${nest} on Express`, { mount: onNest("Express") }],
  [`Nest ${nest} on Fastify`, { mount: onNest("Fastify") }],
];

/** Where another version of Nest is tested (NEST), it alone. */
export const places: readonly (readonly [string, Place])[] =
  nest === "12" ? everyPlace : everyPlace.filter(([name]) => name.startsWith("Nest"));

/** Serves a listener at `/r`, its caller named by `X-User`. */
export async function serve(
  { mount, engine: given }: Place,
  listener: PlaceListener,
  options: PlaceOptions = {},
): Promise<Served> {
  const events: string[] = [];
  const onEvent: EngineOptions["onEvent"] = (event) => void events.push(event.kind);
  const store = given?.store ?? memoryStore();
  const engine = createEngine({ storeTimeout: "300ms", ...given, store, onEvent });
  const scope = (req: IncomingMessage) => req.headers["x-user"] ?? `u${served}`;
  const server = await mount(listener, { engine, options: { scope, ...options } });
  const port = await portOf(server);
  served += 1; // a shared store must not show one test another's records
  const url = `http://127.0.0.1:${port}`;
  async function close(): Promise<void> {
    server.closeAllConnections();
    server.close();
    await engine.close(100);
  }
  return {
    url,
    port,
    engine,
    events,
    post: (key, init = {}) =>
      fetch(`${url}${init.path ?? "/r"}`, {
        method: "POST",
        body: "body",
        ...init,
        headers: { ...(key === undefined ? {} : { "idempotency-key": key }), ...init.headers },
      }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Serves a listener as it would be without Latchkey. */
export async function serveBare(
  { mount }: Place,
  listener: PlaceListener,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = await mount(listener);
  const port = await portOf(server);
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

let served = 0;
