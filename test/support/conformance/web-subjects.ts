/** The test route on Hono, and as a plain `Request → Response` handler, both on a real server. */
import type { Server } from "node:http";
import { ReadableStream as NodeStream } from "node:stream/web";
import { setTimeout as delay } from "node:timers/promises";
import { createAdaptorServer } from "@hono/node-server";
import { Hono } from "hono";
import type { Context, MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import { stream } from "hono/streaming";
import { idempotencyOf, idempotent } from "../../../src/adapters/fetch.ts";
import { idempotent as guardHono } from "../../../src/adapters/hono.ts";
import type { HttpSubject, Play, TestRoute } from "../../../src/conformance/suites.ts";
import type { Idempotency } from "../../../src/http/execution.ts";
import { adapterSubject, outerLayer } from "./adapter-subject.ts";
import type { Mount } from "./adapter-subject.ts";
import { parts } from "./fastify-subject.ts";

type Ways = Readonly<Record<string, (play: Play, c: Context) => Response | Promise<Response>>>;

const bytesOf = (body: Uint8Array): Uint8Array<ArrayBuffer> => Uint8Array.from(body);
const initOf = ({ status, headers }: Play): ResponseInit => ({
  status,
  headers: headers.map(([name, value]): [string, string] => [name, value]),
});

/** Chunks as a stream of the Web's kind; the DOM's types do not know `from`. */
const streamOf = (chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): ReadableStream =>
  NodeStream.from(chunks) as ReadableStream;

/** The answer as a `Response`: with a body of bytes, or a stream of both parts. */
function responseOf(play: Play): Response {
  if ([204, 205, 304].includes(play.status)) return new Response(null, initOf(play));
  if (play.rest === undefined) return new Response(bytesOf(play.body), initOf(play));
  return new Response(streamOf(parts(play)), initOf(play));
}

function performOn(
  route: TestRoute,
  request: Request,
  idempotency: Idempotency | undefined,
): Promise<Play> {
  const instruction = request.headers.get("x-verify") ?? undefined;
  const body = async (): Promise<Uint8Array> => new Uint8Array(await request.arrayBuffer());
  return route.perform({ instruction, body, idempotency });
}

function inquiry(route: TestRoute, request: Request): Response | undefined {
  const { pathname, search } = new URL(request.url);
  const answer = route.inquire(pathname + search);
  const headers = { "content-type": "application/json" };
  return answer === undefined ? undefined : new Response(answer, { headers });
}

const honoWays: Ways = {
  json: ({ status }, c) => c.json({ in: "its way" }, status as 201),
  text: ({ status }, c) => c.text("in its way", status as 201),
  stream: ({ body }, c) =>
    stream(c, async (out) => {
      await out.write(bytesOf(body));
      await out.write("more");
    }),
  redirect: (_play, c) => c.redirect("/receipts/7", 303),
  "throw 402": () => {
    throw new HTTPException(402, { message: "no money" });
  },
  "throw 500": () => {
    throw new Error("as told");
  },
};

const outerHono: MiddlewareHandler = async (c, next) => {
  const header = (name: string): string | undefined => c.req.header(name);
  const { status, headers, timeoutMs } = outerLayer(c.req.method, header);
  // As Hono's own CORS middleware does it: what a handler returns takes these over.
  for (const [name, value] of headers) c.res.headers.set(name, value);
  if (status !== undefined) return c.body(null, status);
  if (timeoutMs === undefined) return next();
  // As Hono's own timeout middleware does it.
  const late = delay(timeoutMs).then((): never => {
    throw new HTTPException(504, { message: "too slow" });
  });
  return Promise.race([next(), late]);
};

const mountHono: Mount = (engine, options, route) => {
  const app = new Hono();
  app.onError((error, c) =>
    error instanceof HTTPException ? error.getResponse() : c.text("Internal Server Error", 500),
  );
  const scope = (c: Context): string | undefined => c.req.header("x-user");
  const guard = guardHono(engine, { scope, ...options } as never) as MiddlewareHandler;
  app.use(outerHono);
  for (const path of ["/r", "/r/:part"]) {
    app.all(path, guard, async (c) => {
      const asked = inquiry(route, c.req.raw);
      if (asked !== undefined) return asked;
      const play = await performOn(route, c.req.raw, c.get("idempotency"));
      const way = play.via === undefined ? undefined : honoWays[play.via];
      return way === undefined ? responseOf(play) : way(play, c);
    });
  }
  return createAdaptorServer({ fetch: app.fetch }) as Server;
};

const fetchWays: Ways = {
  json: ({ status }) => Response.json({ in: "its way" }, { status }),
  text: ({ status }) => new Response("in its way", { status }),
  stream: ({ body, status }) => new Response(streamOf([body, Buffer.from("more")]), { status }),
  form: ({ status }) => new Response(new URLSearchParams({ in: "its way" }), { status }),
  redirect: () => Response.redirect("http://127.0.0.1/receipts/7", 303),
  "throw 500": () => {
    throw new Error("as told");
  },
};

type Handler = (request: Request) => Promise<Response>;

/** The outer layer around a handler. */
const outerFetch =
  (handler: Handler): Handler =>
  async (request) => {
    const header = (name: string): string | null => request.headers.get(name);
    const { status, headers, timeoutMs } = outerLayer(request.method, header);
    const late = new Promise<Response>((resolve) => {
      if (timeoutMs === undefined) return;
      setTimeout(() => resolve(new Response("too slow", { status: 504 })), timeoutMs);
    });
    const response =
      status === undefined
        ? await Promise.race([handler(request), late])
        : new Response(null, { status });
    for (const [name, value] of headers) {
      if (name !== "x-request-id" || !response.headers.has(name)) response.headers.set(name, value);
    }
    return response;
  };

const mountFetch: Mount = (engine, options, route) => {
  const handler: Handler = async (request) => {
    const asked = inquiry(route, request);
    if (asked !== undefined) return asked;
    const play = await performOn(route, request, idempotencyOf(request));
    const way = play.via === undefined ? undefined : fetchWays[play.via];
    return way === undefined ? responseOf(play) : way(play, undefined as never);
  };
  const scope = (request: Request): string | null => request.headers.get("x-user");
  const guard = (operation?: string): Handler =>
    idempotent(engine, handler, {
      scope,
      ...(operation === undefined ? {} : { operation }),
      ...options,
    } as never);
  const own = guard();
  const below = new Map<string, Handler>();
  const routed: Handler = (request) => {
    if (!/^\/r\/[^/]*$/.test(new URL(request.url).pathname)) return own(request);
    const operation = `${request.method} /r/:part`;
    const guarded = below.get(operation) ?? guard(operation);
    below.set(operation, guarded);
    return guarded(request);
  };
  return createAdaptorServer({ fetch: outerFetch(routed) }) as Server;
};

const lacks = {
  hints: "A Response has no interim answers.",
  trailers: "A Response has no trailers.",
};

export const honoSubject: HttpSubject = adapterSubject({
  name: "Hono 4",
  mount: mountHono,
  lacks,
  ways: Object.keys(honoWays),
});
export const fetchSubject: HttpSubject = adapterSubject({
  name: "fetch",
  mount: mountFetch,
  lacks,
  ways: Object.keys(fetchWays),
});
