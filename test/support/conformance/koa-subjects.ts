/** The test route on Koa, answered through its context. */
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import Koa from "koa";
import type { Context, Middleware } from "koa";
import Koa2 from "koa2";
import { idempotent } from "../../../src/adapters/koa.ts";
import type { IdempotencyState } from "../../../src/adapters/koa.ts";
import type { HttpSubject, Play, TestRoute } from "../../../src/conformance/suites.ts";
import { adapterSubject, outerLayer } from "./adapter-subject.ts";
import type { Mount } from "./adapter-subject.ts";
import { parts } from "./fastify-subject.ts";
import { lineOf } from "./node-subjects.ts";

const outer: Middleware = async (ctx, next) => {
  const { status, headers, timeoutMs } = outerLayer(ctx.method, (name) => lineOf(ctx.req, name));
  for (const [name, value] of headers) ctx.set(name, value);
  if (status !== undefined) {
    ctx.status = status;
    return;
  }
  if (timeoutMs === undefined) return void (await next());
  const late = delay(timeoutMs, "late" as const);
  if ((await Promise.race([next(), late])) !== "late") return;
  ctx.status = 504;
  ctx.body = "too slow";
};

const ways: Readonly<Record<string, (ctx: Context, play: Play) => unknown>> = {
  json: (ctx) => (ctx.body = { in: "its way" }),
  text: (ctx) => (ctx.body = "in its way"),
  stream: (ctx, { body }) => (ctx.body = Readable.from([body, Buffer.from("more")])),
  blob: (ctx, { body }) => (ctx.body = Readable.from(body)),
  "respond: false": (ctx, { body }) => {
    ctx.respond = false;
    ctx.res.writeHead(201).end(body);
  },
  redirect: (ctx) => ctx.redirect("/receipts/7"),
  "throw 402": (ctx) => ctx.throw(402, "no money"),
  "throw 500": () => {
    throw new Error("as told");
  },
};

async function answer(route: TestRoute, ctx: Context): Promise<void> {
  const asked = route.inquire(ctx.originalUrl);
  if (asked !== undefined) {
    ctx.type = "json";
    ctx.body = asked;
    return;
  }
  const { idempotency } = ctx.state;
  const instruction = lineOf(ctx.req, "x-verify");
  const play = await route.perform({ instruction, body: () => buffer(ctx.req), idempotency });
  ctx.status = play.status;
  if (play.via !== undefined) return void ways[play.via]?.(ctx, play);
  if (play.hints !== undefined) ctx.res.writeEarlyHints({ link: play.hints });
  ctx.body = play.rest === undefined ? play.body : Readable.from(cutting(ctx, parts(play)));
  for (const name of new Set(play.headers.map(([one]) => one))) ctx.remove(name);
  for (const [name, value] of play.headers) ctx.append(name, value);
  if (play.trailers.length === 0) return;
  ctx.set("Trailer", play.trailers.map(([name]) => name).join());
  ctx.res.addTrailers(Object.fromEntries(play.trailers));
}

/** Koa 2 leaves an answer hanging whose stream fails; a service cuts it off itself. */
async function* cutting(ctx: Context, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* chunks;
  } catch (error) {
    ctx.res.destroy();
    throw error;
  }
}

/** What koa-router would tell of its routes. */
const router: Middleware = async (ctx, next) => {
  if (/^\/r\/[^/]*$/.test(ctx.path)) Object.assign(ctx, { _matchedRoute: "/r/:part" });
  if (/^\/r(?:\/[^/]*)?$/.test(ctx.path)) await next();
};

const mount =
  (framework: typeof Koa): Mount =>
  (engine, options, route) => {
    const app = new framework<IdempotencyState>();
    app.silent = true;
    app.use(outer).use(router);
    const scope = (ctx: Context): string | undefined => lineOf(ctx.req, "x-user");
    app.use(idempotent(engine, { scope, ...options } as never) as Middleware);
    app.use((ctx) => answer(route, ctx));
    const callback = app.callback();
    return createServer((req, res) => void callback(req, res));
  };

const koa = (name: string, framework: typeof Koa): HttpSubject =>
  adapterSubject({ name, mount: mount(framework), ways: Object.keys(ways) });

export const koa2Subject: HttpSubject = koa("Koa 2", Koa2);
export const koa3Subject: HttpSubject = koa("Koa 3", Koa);
