/**
 * Servers of HTTP/2 with a protected route: Node's compatibility API, and the frameworks that serve
 * over it. With their clients, and closed after each test.
 */
import { connect, createServer } from "node:http2";
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  Http2Server,
  Http2ServerRequest,
  Http2ServerResponse,
  IncomingHttpHeaders,
} from "node:http2";
import type { OutgoingHttpHeaders } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import fastify from "fastify";
import Koa from "koa";
import { afterEach } from "vitest";
import { idempotent as guardFastify } from "../../src/adapters/fastify.ts";
import { idempotent as guardKoa } from "../../src/adapters/koa.ts";
import { idempotent as guardNode } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import type { Store } from "../../src/stores/store.ts";
import { until } from "./poll.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

export type Listener = (req: Http2ServerRequest, res: Http2ServerResponse) => unknown;
export type Mount = (engine: Engine, listener: Listener) => Http2Server | Promise<Http2Server>;

export const mounts: Readonly<Record<string, Mount>> = {
  node: (engine, listener) => {
    const guarded = guardNode(engine, { scope: "public" }, listener);
    return createServer((req, res) => void guarded(req, res));
  },
  Fastify: async (engine, listener) => {
    const app = fastify({ http2: true });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", (_request, _payload, done) => done(null));
    await app.register(guardFastify(engine, { scope: "public" }));
    app.post("/r", (request, reply) => {
      reply.hijack();
      void listener(request.raw, reply.raw);
    });
    await app.ready();
    return app.server;
  },
  Koa: (engine, listener) => {
    const app = new Koa();
    app.silent = true;
    app.use(guardKoa(engine, { scope: "public" }));
    app.use(async (ctx) => {
      ctx.respond = false;
      ctx.res.statusCode = 200;
      await listener(ctx.req as never, ctx.res as never);
    });
    const callback = app.callback();
    return createServer((req, res) => void callback(req, res));
  },
};

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Serves a listener by an engine of its own; returns what sends it requests. */
export async function open(mount: Mount, listener: Listener, store: Store = memoryStore()) {
  return serve(await mount(createEngine({ store }), listener));
}

/** Starts a server; returns what sends it requests. */
export async function serve(server: Http2Server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const session: ClientHttp2Session = connect(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  );
  closers.push(
    () => session.destroy(),
    () => server.close(),
  );
  const begin = (key = "k", more: OutgoingHttpHeaders = {}, endStream = false) => {
    const head = { ":method": "POST", ":path": "/r", "idempotency-key": key, ...more };
    return session.request(head, { endStream });
  };
  const send = (body: string | undefined, key = "k") => {
    if (body === undefined) return begin(key, {}, true);
    return begin(key).end(body); // without a length
  };
  const post = async (body: string | undefined, key = "k"): Promise<Answered> => {
    const stream = send(body, key);
    const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders];
    const chunks = (await stream.toArray()) as Buffer[];
    const { ":status": status = "" } = headers as Record<string, string>;
    return { status: Number(status), headers, body: Buffer.concat(chunks).toString() };
  };
  return { session, begin, send, post };
}

/** Resolves when a stream is closed, whatever for. */
export function closed(stream: ClientHttp2Stream): Promise<unknown> {
  stream.on("error", () => undefined);
  return until(() => stream.closed && stream.destroyed);
}
