/**
 * Fastify's own ways to reply: the first is as without Latchkey, byte for byte on its socket
 * (B-19), and is recorded or released (B-78).
 */
import { createReadStream, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import fastify from "fastify";
import type { FastifyInstance, FastifyReply } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idempotent } from "../../../src/adapters/fastify.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { compareApps, plainError } from "../../support/both.ts";
import type { Comparison } from "../../support/both.ts";
import type { RawRequest } from "../../support/raw-socket.ts";

const file = join(tmpdir(), `latchkey-fastify-${process.pid}.txt`);
writeFileSync(file, "a file ".repeat(20_000));

type Ending = (reply: FastifyReply) => unknown;
const late = (reply: FastifyReply, act: () => unknown): FastifyReply => {
  setImmediate(act);
  return reply;
};
const recorded: Readonly<Record<string, Ending>> = {
  "a returned object": () => ({ a: "\u00fc" }),
  "a returned string": () => "words",
  "a returned number": () => 0,
  "a returned null": () => null,
  'a returned ""': () => "",
  "a returned boolean": () => false,
  "nothing returned": () => undefined,
  "send()": (reply) => reply.send(),
  "send(null)": (reply) => reply.send(null),
  "send of bytes": (reply) => reply.send(Buffer.from([0, 255, 13, 10])),
  "send of a Uint8Array": (reply) => reply.send(Uint8Array.from([1, 2])),
  "send of a stream": (reply) => reply.send(Readable.from(["one ", "two"], { objectMode: false })),
  "send of a file": (reply) => reply.type("text/plain").send(createReadStream(file)),
  "send of a stream of known length": (reply) =>
    reply
      .header("content-length", 7)
      .send(Readable.from([Buffer.from("one "), Buffer.from("two")])),
  "send of a stream of the Web": (reply) => reply.send(new Blob(["a blob"]).stream()),
  "send of a Response": (reply) =>
    reply.send(new Response("web", { status: 201, headers: { "x-one": "1", etag: '"1"' } })),
  "send of an empty Response": (reply) => reply.send(new Response(null, { status: 202 })),
  "send of a JSON Response": (reply) => reply.send(Response.json({ a: 1 })),
  "code(204)": (reply) => reply.code(204).send(),
  "code(204) with a body": (reply) => reply.code(204).send({ a: 1 }),
  "code(304)": (reply) => reply.code(304).send(),
  "code(201) with a location": (reply) => reply.code(201).header("Location", "/1").send({ id: 1 }),
  redirect: (reply) => reply.redirect("/elsewhere"),
  "redirect(303)": (reply) => reply.redirect("/elsewhere", 303),
  "two links and two cookies": (reply) =>
    reply.header("link", ["<a>", "<b>"]).header("set-cookie", ["a=1", "b=2"]).send("x"),
  "a type of its own": (reply) => reply.type("application/x-own").send("text"),
  "a serializer of its own": (reply) => reply.serializer(() => "serialized").send({ a: 1 }),
  "a late reply": (reply) => late(reply, () => reply.code(404).send("not here")),
  "a late return": async () => turn({ late: true }),
  "a second send": (reply) => {
    void reply.send("first");
    void reply.send("second, and longer");
    return reply;
  },
  trailers: (reply) => reply.trailer("x-sum", async () => "1").send("text"),
  "early hints by raw": (reply) => {
    reply.raw.writeEarlyHints({ link: "</style.css>; rel=preload" });
    return reply.send("text");
  },
  hijack: (reply) => {
    reply.hijack();
    reply.raw.writeHead(201, { "X-Raw": "1" }).end("raw");
    return undefined;
  },
  "raw.end, and a reply": (reply) => {
    reply.raw.end("raw");
    return reply;
  },
  "raw writes": (reply) => {
    reply.hijack();
    reply.raw.write("one ");
    return late(reply, () => reply.raw.end("two"));
  },
  "a thrown 4xx": () => {
    throw plainError("no such card", { statusCode: 422, code: "CARD" });
  },
  "an error sent": (reply) => reply.code(409).send(plainError("conflict")),
  "an error of Fastify": (reply) =>
    reply.send(Object.assign(plainError("FST"), { statusCode: 400 })),
  "an error with a handler of its own": () => {
    throw plainError("own 402");
  },
  "an error whose handler answers later": () => {
    throw plainError("late 409");
  },
  callNotFound: (reply) => {
    reply.callNotFound();
    return reply;
  },
};
const released: Readonly<Record<string, Ending>> = {
  "a throw": () => {
    throw plainError("broken");
  },
  "a rejection": async () => Promise.reject(plainError("broken")),
  "code(503)": (reply) => reply.code(503).header("retry-after", "7").send("down"),
  "code(429)": (reply) => reply.code(429).send({ slow: "down" }),
  "a payload that cannot be sent": (reply) => reply.type("text/plain").send({ a: 1 }),
  "a stream that fails at once": (reply) =>
    reply.send(
      new Readable({ read: () => undefined, construct: (done) => done(plainError("no")) }),
    ),
  "a stream that fails midway": (reply) => {
    const broken = new Readable({ read: () => undefined });
    broken.push("half");
    setTimeout(() => broken.destroy(plainError("cut")), 5);
    return reply.send(broken);
  },
};
const endings = { ...recorded, ...released };

function addRoute(app: FastifyInstance): void {
  const schema = { response: { 299: { type: "object", properties: { a: { type: "number" } } } } };
  app.post("/r", { schema }, async (request, reply) =>
    endings[String(request.headers["x-ending"])]?.(reply),
  );
  app.setErrorHandler(async (error: Error, _request, reply) => {
    const [, how, status] = /^(own|late) (\d+)$/.exec(error.message) ?? [];
    if (how === undefined) throw error;
    if (how === "late") await turn();
    return reply.code(Number(status)).send({ failed: error.message });
  });
}

/** Routes beside the plugin, and inside of another with a prefix. */
async function make(engine: Engine | undefined, prefix: string) {
  const server = createServer();
  const app = fastify({ serverFactory: (handler) => server.on("request", handler) });
  if (engine !== undefined) await app.register(idempotent(engine, { scope: "public" }));
  if (prefix === "") addRoute(app);
  else await app.register(async (inner) => addRoute(inner), { prefix });
  await app.ready();
  return server;
}

const requests: readonly RawRequest[] = [
  {},
  { body: '{"a":1}', headers: { "content-type": "application/json" } },
];

describe.each(["", "/v1"])("the first reply of Fastify at %j", (prefix) => {
  let apps: Comparison;
  beforeAll(async () => void (apps = await compareApps((engine) => make(engine, prefix))));
  afterAll(() => apps[Symbol.asyncDispose]());

  it.each(Object.keys(recorded))("%s is as without, and recorded (B-19, B-78)", async (ending) => {
    for (const request of requests) {
      const { bare, guarded, told } = await apps.ask(ending, { ...request, path: `${prefix}/r` });
      expect(guarded).toBe(bare);
      expect(told).toEqual(["executed"]);
    }
  });

  it.each(Object.keys(released))("%s is as without, and released (B-19, B-78)", async (ending) => {
    for (const request of requests) {
      const { bare, guarded, told } = await apps.ask(ending, { ...request, path: `${prefix}/r` });
      expect(guarded).toBe(bare);
      expect(told).toEqual(["released"]);
    }
  });
});
