/**
 * Koa's own ways to respond: the first is as without Latchkey, byte for byte on its socket (B-19),
 * and is recorded or released (B-78).
 */
import { createReadStream, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { createGzip, gzipSync } from "node:zlib";
import type { Context, Middleware } from "koa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idempotent } from "../../../src/adapters/koa.ts";
import { compareApps, plainError } from "../../support/both.ts";
import type { Comparison } from "../../support/both.ts";
import { koas } from "../../support/koa-servers.ts";
import type { RawRequest } from "../../support/raw-socket.ts";

const file = join(tmpdir(), `latchkey-koa-wire-${process.pid}.txt`);
writeFileSync(file, "a file ".repeat(20_000));

type Ending = (ctx: Context) => unknown;
const recorded: Readonly<Record<string, Ending>> = {
  text: (ctx) => (ctx.body = "text"),
  html: (ctx) => (ctx.body = "<p>p</p>"),
  'the body ""': (ctx) => (ctx.body = ""),
  bytes: (ctx) => (ctx.body = Buffer.from([0, 255, 13, 10])),
  "an object": (ctx) => (ctx.body = { a: "\u00fc" }),
  "the body 0": (ctx) => (ctx.body = 0),
  "the body false": (ctx) => (ctx.body = false),
  "the body null": (ctx) => (ctx.body = null),
  "null with 200": (ctx) => {
    ctx.body = null;
    ctx.status = 200;
  },
  "null as JSON": (ctx) => {
    ctx.type = "application/json";
    ctx.body = null;
  },
  "the body undefined": (ctx) => (ctx.body = undefined),
  204: (ctx) => (ctx.status = 204),
  "304 with a body": (ctx) => {
    ctx.status = 304;
    ctx.body = "text";
  },
  "a status alone": (ctx) => (ctx.status = 202),
  "a message": (ctx) => {
    ctx.status = 402;
    ctx.message = "Show Me";
  },
  nothing: () => undefined,
  redirect: (ctx) => ctx.redirect("/elsewhere"),
  "redirect with 303": (ctx) => {
    ctx.status = 303;
    ctx.redirect("/elsewhere");
  },
  "two links and two cookies": (ctx) => {
    ctx.append("Link", ["<a>", "<b>"]);
    ctx.cookies.set("a", "1");
    ctx.cookies.set("b", "2");
    ctx.body = "linked";
  },
  attachment: (ctx) => {
    ctx.attachment("report.csv");
    ctx.body = "a,b";
  },
  "a stream": (ctx) => (ctx.body = Readable.from(["one ", "two"])),
  "a stream of known length and type": (ctx) => {
    ctx.type = "text/x-known";
    ctx.length = 7;
    ctx.body = Readable.from([Buffer.from("one "), Buffer.from("two")]);
  },
  "a file": (ctx) => (ctx.body = createReadStream(file)),
  "an empty stream": (ctx) => (ctx.body = Readable.from([])),
  "a late stream": async (ctx) => {
    const late = new PassThrough();
    ctx.body = late;
    setImmediate(() => late.end("late"));
    await turn();
  },
  "a body over a stream": (ctx) => {
    ctx.body = Readable.from(["never sent"]);
    ctx.body = "instead";
  },
  "writes past Koa": (ctx) => {
    ctx.respond = false;
    ctx.res.writeHead(201, { "X-Raw": "1" });
    ctx.res.write("one ");
    ctx.res.end("two");
  },
  "res.end, and Koa goes on": (ctx) => void ctx.res.end("raw"),
  "a late end past Koa": (ctx) => {
    ctx.respond = false;
    setTimeout(() => ctx.res.end("late"), 5);
  },
  "flushHeaders and a body": (ctx) => {
    ctx.status = 200;
    ctx.set("X-Early", "1");
    ctx.flushHeaders();
    ctx.body = "text";
  },
  "ctx.throw": (ctx) => ctx.throw(422, "no such card"),
  "ctx.assert": (ctx) => ctx.assert(false, 409, "conflict"),
  "an error with headers": () => {
    throw plainError("declined", { status: 402, expose: true, headers: { "X-Why": "card" } });
  },
  "an error caught outside": () => {
    throw plainError("caught 404");
  },
  "a large text, compressed outside": (ctx) => {
    ctx.state["compress"] = true;
    ctx.body = "text ".repeat(1000);
  },
  "a stream, compressed outside": (ctx) => {
    ctx.state["compress"] = true;
    ctx.type = "text";
    ctx.body = Readable.from(["a".repeat(1000), "b".repeat(1000)]);
  },
};
const released: Readonly<Record<string, Ending>> = {
  "a throw": () => {
    throw plainError("broken");
  },
  "a rejection": async () => Promise.reject(plainError("broken")),
  "ctx.throw(503)": (ctx) => ctx.throw(503, "down", { headers: { "Retry-After": "7" } }),
  "status 500": (ctx) => {
    ctx.status = 500;
    ctx.body = "failed";
  },
  "status 429": (ctx) => (ctx.status = 429),
  "an error caught outside, 503": () => {
    throw plainError("caught 503");
  },
  "a body that cannot be JSON": (ctx) => {
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    ctx.body = circle;
  },
};
// Koa 2 leaves the response of a stream that fails midway open, for ever.
const midway: Readonly<Record<string, Ending>> = {
  "a stream that fails midway": (ctx) => {
    const broken = new Readable({ read: () => undefined });
    broken.push("half");
    setTimeout(() => broken.destroy(plainError("cut")), 10);
    ctx.body = broken;
  },
};
const web: Readonly<Record<string, Ending>> = {
  "a Blob": (ctx) => (ctx.body = new Blob(["blob"], { type: "text/x-blob" })),
  "a stream of the Web": (ctx) => (ctx.body = new Blob(["a stream"]).stream()),
  "a Response": (ctx) => {
    ctx.body = new Response("a response", { status: 201, headers: { etag: '"1"' } });
  },
  "a Response of JSON": (ctx) => (ctx.body = Response.json({ a: 1 })),
  "an empty Response": (ctx) => (ctx.body = new Response(null, { status: 202 })),
};
const endings = { ...recorded, ...released, ...midway, ...web };

const outside: Middleware = async (ctx, next) => {
  ctx.set("X-Outside", "1");
  try {
    await next();
  } catch (error) {
    const [, status] = /^caught (\d+)$/.exec((error as Error).message) ?? [];
    if (status === undefined) throw error;
    ctx.status = Number(status);
    ctx.body = { failed: (error as Error).message };
  }
  if (ctx.state["compress"] !== true) return;
  const { body } = ctx;
  ctx.set("content-encoding", "gzip");
  if (typeof body === "string") ctx.body = gzipSync(body);
  else ctx.body = (body as Readable).pipe(createGzip());
};

const requests: readonly RawRequest[] = [
  {},
  { body: '{"a":1}', headers: { "content-type": "application/json" } },
];

describe.each(koas)("the first response of %s", (version, framework) => {
  const isNewer = version === "Koa 3";
  let apps: Comparison;
  beforeAll(async () => {
    apps = await compareApps((engine) => {
      const app = new framework();
      app.silent = true;
      app.use(outside);
      app.use((ctx, next) => (ctx.path === "/farewell" ? void (ctx.body = "farewell") : next()));
      if (engine !== undefined) app.use(idempotent(engine, { scope: "public" }));
      app.use((ctx) => endings[ctx.get("x-ending")]?.(ctx) as Promise<void> | undefined);
      const serve = app.callback();
      return createServer((req, res) => void serve(req, res));
    });
  });
  afterAll(() => apps[Symbol.asyncDispose]());

  const kept = Object.keys(isNewer ? { ...recorded, ...web } : recorded);
  it.each(kept)("%s is as without, and recorded (B-19, B-23, B-35, B-78)", async (ending) => {
    for (const request of requests) {
      const { bare, guarded, told } = await apps.ask(ending, request);
      expect(guarded).toBe(bare);
      expect(told).toEqual(["executed"]);
    }
  });

  const freed = Object.keys(isNewer ? { ...released, ...midway } : released);
  it.each(freed)("%s is as without, and released (B-19, B-78, B-111)", async (ending) => {
    for (const request of requests) {
      const { bare, guarded, told } = await apps.ask(ending, request);
      expect(guarded).toBe(bare);
      expect(told).toEqual(["released"]);
    }
  });
});
