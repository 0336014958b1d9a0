/**
 * Express's own ways to end a response: the first is as without Latchkey, byte for byte on its
 * socket (B-19), and is recorded or released (B-78).
 */
import { createReadStream, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setImmediate as turn } from "node:timers/promises";
import compression from "compression";
import express from "express";
import type { NextFunction, Request, Response } from "express";
import express4 from "express4";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idempotent } from "../../../src/adapters/express.ts";
import { compareApps, plainError } from "../../support/both.ts";
import type { Compared, Comparison } from "../../support/both.ts";
import type { RawRequest } from "../../support/raw-socket.ts";

const file = join(tmpdir(), `latchkey-express-${process.pid}.txt`);
writeFileSync(file, "a file ".repeat(20_000));

type Ending = (res: Response, next: NextFunction) => unknown;
const recorded: Readonly<Record<string, Ending>> = {
  "json(0)": (res) => res.json(0),
  "json(null)": (res) => res.json(null),
  'json("")': (res) => res.json(""),
  "json(false)": (res) => res.json(false),
  "json(undefined)": (res) => res.json(undefined),
  "json of an object": (res) => res.status(201).location("/charges/1").json({ a: "\u00fc" }),
  jsonp: (res) => res.jsonp({ a: 1 }),
  "send()": (res) => res.send(),
  'send("")': (res) => res.send(""),
  "send(null)": (res) => res.send(null),
  "send of text": (res) => res.send("<p>text</p>"),
  "send of an object": (res) => res.send({ a: 1 }),
  "send of a boolean": (res) => res.send(true),
  "send of bytes": (res) => res.send(Buffer.from([0, 255, 10, 13])),
  "send of a typed text": (res) => res.type("text/x-own").send("text"),
  "sendStatus(204)": (res) => res.sendStatus(204),
  "sendStatus(202)": (res) => res.sendStatus(202),
  "status(204).send": (res) => res.status(204).send("text"),
  "status(205).end": (res) => res.status(205).end(),
  "status(304).json": (res) => res.status(304).json({ a: 1 }),
  sendFile: (res) => res.sendFile(file, { etag: false, lastModified: false }),
  "sendFile of a part": (res) => res.sendFile(file, { start: 3, end: 9 }),
  "sendFile with a callback": (res) => res.sendFile(file, () => undefined),
  "sendFile of none": (res, next) =>
    res.sendFile(`${file}.none`, (error) => next(error && plainError("none", { status: 404 }))),
  download: (res) => res.download(file, "report.txt"),
  attachment: (res) => res.attachment("a.csv").send("a,b"),
  "a pipe of a file": (res) => createReadStream(file).pipe(res.type("text")),
  pipeline: (res) => pipeline(Readable.from(["one ", "two"]), res),
  redirect: (res) => res.redirect("/elsewhere"),
  "redirect(303)": (res) => res.redirect(303, "/elsewhere"),
  "append of links": (res) => res.append("Link", "<a>").append("Link", "<b>").end(),
  links: (res) => res.links({ next: "/2", last: "/5" }).end("x"),
  cookies: (res) => res.cookie("a", "1").cookie("b", "2").clearCookie("c").end("x"),
  format: (res) => res.format({ text: () => res.send("text"), html: () => res.send("<p>") }),
  "vary and set": (res) => res.vary("Accept").set({ "X-One": "1", "x-two": "2" }).end("x"),
  "write and end": (res) => res.write("a") && res.end("b", "latin1"),
  "a late json": async (res) => {
    await turn();
    res.status(404).json({ not: "here" });
  },
  "a second json": (res) => {
    res.json({ first: true });
    res.json({ second: "much longer than the first" });
  },
  "json, then a throw": (res) => {
    res.json({ first: true });
    throw plainError("late");
  },
  "no handler at all": (_res, next) => next(),
  'next("route")': (_res, next) => next("route"),
  "next(400)": (_res, next) => next(plainError("bad", { status: 400, expose: true })),
  "a thrown 422": () => {
    throw plainError("no such card", { status: 422, headers: { "x-why": "card" } });
  },
  "an error with a handler of its own": (_res, next) => next(plainError("own 402")),
  "an error whose handler answers later": (_res, next) => next(plainError("late 409")),
  "a large text, compressed": (res) => res.type("text").send("text ".repeat(1000)),
  "a large stream, compressed": (res) =>
    Readable.from(["a", "b".repeat(5000)]).pipe(res.type("text")),
  "compression, flushed": (res) => {
    res.type("text").write("a".repeat(2000));
    res.flush();
    setImmediate(() => res.end("b"));
  },
};
const released: Readonly<Record<string, Ending>> = {
  "next(error)": (_res, next) => next(plainError("broken")),
  "a throw": () => {
    throw plainError("broken");
  },
  "a rejection": async (_res, next) => Promise.reject(plainError("broken")).catch(next),
  "a thrown 503": () => {
    throw plainError("down", { status: 503, headers: { "retry-after": "7" } });
  },
  "sendStatus(500)": (res) => res.sendStatus(500),
  "status(429)": (res) => res.status(429).set("Retry-After", "3").json({ slow: "down" }),
  "a throw amid the body": (res) => {
    res.write("half");
    throw plainError("broken");
  },
  "next(error) amid the body, later": async (res, next) => {
    res.write("half");
    await turn();
    next(plainError("broken"));
  },
};

// Express cuts their connections: what follows on one depends on who comes first.
const cut = new Set(["a second json", "json, then a throw"]);

const requests: readonly RawRequest[] = [
  { headers: { "accept-encoding": "gzip" } },
  { body: '{"a":1}', headers: { "content-type": "application/json" } },
];

describe.each([
  ["Express 4", express4],
  ["Express 5", express],
] as const)("the first response on %s", (_name, framework) => {
  const endings = { ...recorded, ...released };
  let apps: Comparison;
  beforeAll(async () => {
    apps = await compareApps((engine) => {
      const guards = engine === undefined ? [] : [idempotent(engine, { scope: "public" })];
      const app = framework().set("env", "test").use(compression());
      app.post("/r", framework.json(), ...guards, (req: Request, res, next) =>
        endings[String(req.headers["x-ending"])]?.(res, next),
      );
      app.use(async (error: Error, _req: Request, res: Response, next: NextFunction) => {
        const [, how, status] = /^(own|late) (\d+)$/.exec(error.message) ?? [];
        if (how === undefined) return next(error);
        if (how === "late") await turn();
        return res.status(Number(status)).json({ failed: error.message });
      });
      return createServer(app);
    });
  });
  afterAll(() => apps[Symbol.asyncDispose]());

  const ask = (ending: string, { headers, ...request }: RawRequest): Promise<Compared> => {
    const connection = cut.has(ending) ? "close" : "keep-alive";
    return apps.ask(ending, { ...request, headers: { ...headers, connection } });
  };

  it.each(Object.keys(recorded))("%s is as without, and recorded (B-19, B-78)", async (ending) => {
    for (const request of requests) {
      const { bare, guarded, told } = await ask(ending, request);
      expect(guarded).toBe(bare);
      expect(told).toEqual(["executed"]);
    }
  });

  it.each(Object.keys(released))("%s is as without, and released (B-19, B-78)", async (ending) => {
    for (const request of requests) {
      const { bare, guarded, told } = await ask(ending, request);
      expect(guarded).toBe(bare);
      expect(told).toEqual(["released"]);
    }
  });
});
