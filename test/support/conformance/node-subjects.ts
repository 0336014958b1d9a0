/** The test route on `node:http` and on Express, each in its own words. */
import { createServer } from "node:http";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import express from "express";
import type { Express, NextFunction, Request, Response } from "express";
import express4 from "express4";
import { idempotent as guardExpress } from "../../../src/adapters/express.ts";
import { idempotent } from "../../../src/adapters/node.ts";
import type { Listener } from "../../../src/adapters/node.ts";
import type { HttpSubject, Play, TestRoute } from "../../../src/conformance/suites.ts";
import type { Idempotency } from "../../../src/http/execution.ts";
import { adapterSubject, outerLayer } from "./adapter-subject.ts";
import type { AdapterSubject, Mount } from "./adapter-subject.ts";

/** The outer layer on Node's request and response; `false` when it has answered itself. */
export function passesOuter(req: IncomingMessage, res: ServerResponse): boolean {
  const { status, headers, timeoutMs } = outerLayer(req.method ?? "", (name) => lineOf(req, name));
  for (const [name, value] of headers) res.setHeader(name, value);
  if (timeoutMs !== undefined) {
    setTimeout(() => {
      if (!res.headersSent) res.writeHead(504).end("too slow");
    }, timeoutMs);
  }
  if (status === undefined) return true;
  res.writeHead(status).end();
  return false;
}

/** One header of a request on Node. */
export function lineOf({ headers }: IncomingMessage, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

const scope = (req: IncomingMessage): string | undefined => lineOf(req, "x-user");
const methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

const nodeWays: Readonly<Record<string, (res: ServerResponse, play: Play) => void>> = {
  writeHead: (res, { status, body }) =>
    void res.writeHead(status, { "content-length": body.length }).end(body),
  write: (res, { status, body }) => {
    res.statusCode = status;
    for (const byte of body) res.write(Buffer.of(byte));
    res.end();
  },
  pipe: (res, { status, body }) => {
    res.statusCode = status;
    Readable.from([body, Buffer.from("more")]).pipe(res);
  },
};

function viaOf(req: IncomingMessage): string | undefined {
  const told = Buffer.from(lineOf(req, "x-verify") ?? "", "base64url").toString();
  return told === "" ? undefined : (JSON.parse(told) as { readonly via?: string }).via;
}

function nodeListener(route: TestRoute): Listener {
  return async (req, res, idempotency) => {
    const via = viaOf(req);
    const answer = via === undefined ? undefined : nodeWays[via];
    if (answer === undefined) return route.listener(req, res, idempotency);
    return answer(res, await performOn(route, req, idempotency));
  };
}

function performOn(
  route: TestRoute,
  req: IncomingMessage,
  idempotency: Idempotency | undefined,
): Promise<Play> {
  const instruction = lineOf(req, "x-verify");
  return route.perform({ instruction, body: () => buffer(req), idempotency });
}

const mountNode: Mount = (engine, options, route) => {
  const listener = nodeListener(route);
  const own = idempotent(engine, { scope, ...options } as never, listener);
  const below = new Map(
    methods.map((method): [string, RequestListener] => {
      const operation = `${method} /r/:part`;
      const guarded = idempotent(engine, { scope, operation, ...options } as never, listener);
      return [method, (req, res) => void guarded(req, res)];
    }),
  );
  return createServer((req, res) => {
    if (!passesOuter(req, res)) return;
    if (/^\/r\/[^/]*$/.test(req.url?.split("?")[0] ?? "")) below.get(req.method ?? "")?.(req, res);
    else void own(req, res);
  });
};

/** The outer layer as a middleware. */
const outer = (req: Request, res: Response, next: NextFunction): void => {
  if (passesOuter(req, res)) next();
};

const expressWays: Readonly<
  Record<string, (res: Response, play: Play, next: NextFunction) => unknown>
> = {
  json: (res, { status }) => res.status(status).json({ in: "its way" }),
  text: (res, { status }) => res.status(status).send("in its way"),
  end: (res, { status, body }) => res.status(status).end(body),
  pipe: (res, { status, body }) =>
    Readable.from([body, Buffer.from("more")]).pipe(res.status(status)),
  file: (res, { status }) => res.status(status).sendFile("package.json", { root: process.cwd() }),
  redirect: (res) => res.redirect(303, "/receipts/7"),
  "next(402)": (_res, _play, next) => next(Object.assign(new Error("no money"), { status: 402 })),
  "next(500)": (_res, _play, next) => next(new Error("as told")),
};

async function answerExpress(route: TestRoute, req: Request, res: Response): Promise<Play | void> {
  const asked = route.inquire(req.originalUrl);
  if (asked !== undefined) return void res.type("json").send(asked);
  const { idempotency } = req;
  const play = await performOn(route, req, idempotency);
  if (play.via !== undefined) return play;
  if (play.hints !== undefined) res.writeEarlyHints({ link: play.hints });
  res.status(play.status);
  for (const [name, value] of play.headers) res.append(name, value);
  if (play.rest === undefined) return void res.send(play.body);
  if (play.trailers.length > 0) {
    res.set("Trailer", play.trailers.map(([name]) => name).join());
    res.addTrailers(Object.fromEntries(play.trailers));
  }
  await new Promise((resolve) => res.write(play.body, resolve));
  const last = await play.rest();
  return void (last === "cut" ? res.destroy() : res.end(last));
}

const mountExpress =
  (framework: () => Express): Mount =>
  (engine, options, route) => {
    const guard = guardExpress(engine, { scope, ...options } as never);
    const handler = (req: Request, res: Response, next: NextFunction): void => {
      // Express 4 does not hear of a promise that rejects.
      answerExpress(route, req, res)
        .then((play) => play && expressWays[play.via ?? ""]?.(res, play, next))
        .catch(next);
    };
    const app = framework().set("env", "test"); // keeps its error handler from logging
    app.use(outer);
    app.all("/r", guard as never, handler);
    app.all("/r/:part", guard as never, handler);
    return createServer(app);
  };

const expressOn = (name: string, framework: () => Express): HttpSubject =>
  adapterSubject({ name, mount: mountExpress(framework), ways: Object.keys(expressWays) });

const ways = ["writeHead", "write", "pipe"];
export const nodeSubject: HttpSubject = adapterSubject({
  name: "node:http",
  mount: mountNode,
  ways,
});

/** The same on another store, which all its routes share. */
export const nodeOn = (
  name: string,
  openStore: NonNullable<AdapterSubject["openStore"]>,
): HttpSubject => adapterSubject({ name: `node:http, ${name}`, mount: mountNode, ways, openStore });
export const express4Subject: HttpSubject = expressOn("Express 4", express4);
export const express5Subject: HttpSubject = expressOn("Express 5", express);
