/**
 * Hono's own ways to respond, on its Node server: the first is as without Latchkey, byte for byte
 * on its socket (B-19), and is recorded or released (B-78).
 */
import type { Server } from "node:http";
import { setImmediate as turn } from "node:timers/promises";
import { createAdaptorServer } from "@hono/node-server";
import { compress } from "hono/compress";
import { setCookie } from "hono/cookie";
import { Hono } from "hono";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { stream, streamSSE, streamText } from "hono/streaming";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idempotent } from "../../../src/adapters/hono.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { compareApps } from "../../support/both.ts";
import type { Comparison } from "../../support/both.ts";
import type { RawRequest } from "../../support/raw-socket.ts";

const streamOf = (...parts: string[]) =>
  new ReadableStream<Uint8Array>({
    start: (to) => {
      for (const part of parts) to.enqueue(Buffer.from(part));
      to.close();
    },
  });

type Ending = (c: Context) => Response | Promise<Response>;
const recorded: Readonly<Record<string, Ending>> = {
  text: (c) => c.text("text"),
  'text("")': (c) => c.text(""),
  "json(0)": (c) => c.json(0),
  "json(null)": (c) => c.json(null),
  'json("")': (c) => c.json(""),
  "json with a status and headers": (c) => c.json({ a: "\u00fc" }, 201, { location: "/1" }),
  html: (c) => c.html("<p>p</p>"),
  "body of text": (c) => c.body("text"),
  "body of bytes": (c) => c.body(Uint8Array.from([0, 255, 13, 10])),
  "body of a stream": (c) => c.body(streamOf("one ", "two")),
  "body of a stream with a type": (c) => c.body(streamOf("one"), 200, { "content-type": "a/b" }),
  "body of a stream of known length": (c) =>
    c.body(streamOf("one ", "two"), 200, { "content-length": "7" }),
  "body of an empty stream": (c) => c.body(streamOf()),
  "body(null)": (c) => c.body(null),
  "body(null, 204)": (c) => c.body(null, 204),
  "body(null, 304)": (c) => c.body(null, 304),
  "status and header before": (c) => {
    c.status(202);
    c.header("X-One", "1");
    return c.text("text");
  },
  "two links and two cookies": (c) => {
    c.header("link", "<a>", { append: true });
    c.header("link", "<b>", { append: true });
    setCookie(c, "a", "1");
    setCookie(c, "b", "2");
    return c.text("text");
  },
  redirect: (c) => c.redirect("/elsewhere"),
  "redirect(303)": (c) => c.redirect("/elsewhere", 303),
  notFound: (c) => c.notFound(),
  "a plain Response": () => new Response("plain"),
  "a Response without a body": () => new Response(null, { status: 202 }),
  "a Response of a Blob": () => new Response(new Blob(["blob"], { type: "text/x-blob" })),
  "a Response of a form": () => new Response(new URLSearchParams({ a: "1" })),
  "a Response of JSON": () => Response.json({ a: 1 }),
  "a Response that cannot be changed": () => Response.redirect("http://h/elsewhere", 307),
  stream: (c) =>
    stream(c, async (out) => {
      await out.write("one ");
      await turn();
      await out.write("two");
    }),
  streamText: (c) =>
    streamText(c, async (out) => {
      await out.writeln("one");
      await turn();
      await out.write("two");
    }),
  streamSSE: (c) =>
    streamSSE(c, async (events) => {
      await events.writeSSE({ data: "one", id: "1" });
      await turn();
      await events.writeSSE({ data: "two", event: "more" });
    }),
  "a late response": async (c) => {
    await turn();
    return c.text("late", 404);
  },
  HTTPException: () => {
    throw new HTTPException(422, { message: "no such card" });
  },
  "HTTPException with a response": () => {
    throw new HTTPException(402, { res: new Response("declined", { headers: { etag: '"1"' } }) });
  },
  "an error that onError answers later": () => {
    throw new Error("409");
  },
  "a large text, compressed outside": (c) => c.text("text ".repeat(1000)),
  "a large stream, compressed outside": (c) =>
    c.body(streamOf("a".repeat(2000), "b".repeat(2000)), 200, { "content-type": "text/plain" }),
};
const released: Readonly<Record<string, Ending>> = {
  "a throw": () => {
    throw new Error("500");
  },
  "a rejection": async () => Promise.reject(new Error("503")),
  "HTTPException(503)": () => {
    throw new HTTPException(503, { message: "down" });
  },
  "status 500": (c) => c.text("failed", 500),
  "status 429": (c) => c.json({ slow: "down" }, 429, { "retry-after": "3" }),
};
const endings = { ...recorded, ...released };

function make(engine: Engine | undefined): Server {
  const app = new Hono();
  app.onError(async (error, c) => {
    if (error instanceof HTTPException) return error.getResponse();
    await turn();
    return c.text(error.message, Number(error.message) as 500);
  });
  app.use(async (c, next) => {
    c.header("X-Outside", "1");
    await next();
  });
  app.use(compress());
  app.get("/farewell", (c) => c.text("farewell"));
  const sub = new Hono();
  if (engine !== undefined) sub.use(idempotent(engine, { scope: "public" }));
  sub.post("/r", (c) => endings[c.req.header("x-ending") ?? ""]?.(c) ?? c.notFound());
  app.route("/v1", sub);
  return createAdaptorServer({ fetch: app.fetch }) as Server;
}

const requests: readonly RawRequest[] = [
  { path: "/v1/r", headers: { "accept-encoding": "gzip" } },
  { path: "/v1/r", body: '{"a":1}', headers: { "content-type": "application/json" } },
];

describe("the first response of Hono", () => {
  let apps: Comparison;
  beforeAll(async () => void (apps = await compareApps(make)));
  afterAll(() => apps[Symbol.asyncDispose]());

  it.each(Object.keys(recorded))("%s is as without, and recorded (B-19, B-78)", async (ending) => {
    for (const request of requests) {
      const { bare, guarded, told } = await apps.ask(ending, request);
      expect(guarded).toBe(bare);
      expect(told).toEqual(["executed"]);
    }
  });

  it.each(Object.keys(released))("%s is as without, and released (B-19, B-78)", async (ending) => {
    for (const request of requests) {
      const { bare, guarded, told } = await apps.ask(ending, request);
      expect(guarded).toBe(bare);
      expect(told).toEqual(["released"]);
    }
  });
});
