/** Clients that leave Koa, and timeouts in front, whatever the context then gets (B-76, B-79). */
import { createReadStream, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { createGzip } from "node:zlib";
import type { Context, Middleware } from "koa";
import { describe, expect, it } from "vitest";
import { guardKoa, koas, listenKoa } from "../support/koa-servers.ts";
import { until } from "../support/poll.ts";
import { openRaw, rawRequest } from "../support/raw-socket.ts";

const text = "0123456789".repeat(60_000);
const file = join(tmpdir(), `latchkey-koa-leaving-${process.pid}.txt`);
writeFileSync(file, text);

interface Way {
  readonly end: (ctx: Context) => unknown;
  readonly status?: number;
  readonly body?: string;
}
const ways: Readonly<Record<string, Way>> = {
  text: { end: (ctx) => (ctx.body = text) },
  "an object": { end: (ctx) => (ctx.body = { paid: true }), body: '{"paid":true}' },
  "a stream": { end: (ctx) => (ctx.body = Readable.from(text.match(/.{1,50000}/g) ?? [])) },
  "a file": { end: (ctx) => (ctx.body = createReadStream(file)) },
  "a status alone": { end: (ctx) => (ctx.status = 202), status: 202, body: "Accepted" },
  null: { end: (ctx) => (ctx.body = null), status: 204, body: "" },
  nothing: { end: () => undefined, status: 404, body: "Not Found" },
  "ctx.throw": { end: (ctx) => ctx.throw(402, "declined"), status: 402, body: "declined" },
  "res.end": {
    end: (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(200).end(text);
    },
  },
};
const web: Readonly<Record<string, Way>> = {
  "a Blob": { end: (ctx) => (ctx.body = new Blob([text])) },
  "a Response": { end: (ctx) => (ctx.body = new Response(text)) },
};
const compressing: Middleware = async (ctx, next) => {
  await next();
  if (ctx.get("accept-encoding") !== "gzip" || !(ctx.body instanceof Readable)) return;
  ctx.set("content-encoding", "gzip");
  ctx.body = ctx.body.pipe(createGzip());
};
const type = { "content-type": "text/plain;charset=UTF-8" };

const cases = koas.flatMap(([version, framework]) =>
  Object.entries(version === "Koa 3" ? { ...ways, ...web } : ways).map(
    ([name, way]) => [`${name} on ${version}`, { framework, way }] as const,
  ),
);

describe("a client that leaves", () => {
  it.each(cases)("before %s changes nothing (B-76)", async (_name, { framework, way }) => {
    for (const leave of ["destroy", "resetAndDestroy"] as const) {
      let runs = 0;
      let connection: Socket | undefined;
      const gate = Promise.withResolvers<void>();
      const handler: Middleware = async (ctx) => {
        runs += 1;
        connection = ctx.req.socket;
        await gate.promise;
        await way.end(ctx);
      };
      const post = await listenKoa(framework, { "/r": [compressing, guardKoa(), handler] });
      const { socket } = openRaw(post.port);
      const headers = { ...type, "accept-encoding": "gzip" };
      socket.write(rawRequest({ headers, body: "body" }));
      await until(() => runs === 1);
      socket[leave]();
      await until(() => connection?.destroyed);
      gate.resolve();
      const retry = await until(async () => {
        const response = await post("/r", { body: "body", headers: type });
        return response.status === 409 ? undefined : response;
      });
      expect([retry.status, (await retry.text()) === (way.body ?? text), runs]).toEqual([
        way.status ?? 200,
        true,
        1,
      ]);
      expect(retry.headers.get("idempotency-replayed")).toBe("true");
    }
  });
});

describe.each(koas)("a client that leaves %s", (_name, framework) => {
  it("amid a stream, compressed or not, changes nothing (B-76)", async () => {
    for (const encoding of ["identity", "gzip"]) {
      let runs = 0;
      const handler: Middleware = (ctx) => {
        runs += 1;
        ctx.body = createReadStream(file);
      };
      const post = await listenKoa(framework, { "/r": [compressing, guardKoa(), handler] });
      const { socket, received } = openRaw(post.port);
      const headers = { ...type, "accept-encoding": encoding };
      socket.write(rawRequest({ headers, body: "body" }));
      await until(() => received() !== "");
      socket.resetAndDestroy();
      const retry = await until(async () => {
        const response = await post("/r", { body: "body", headers: type });
        return response.status === 409 ? undefined : response;
      });
      expect([(await retry.text()) === text, runs]).toEqual([true, 1]);
    }
  });

  it("amid a stream too large to be kept is never answered by another run (B-107)", async () => {
    let runs = 0;
    const handler: Middleware = (ctx) => {
      runs += 1;
      const endless = new Readable({ read: () => void endless.push(Buffer.alloc(100_000)) });
      ctx.body = endless;
    };
    const post = await listenKoa(framework, { "/r": [guardKoa(), handler] });
    const { socket, received } = openRaw(post.port);
    socket.write(rawRequest({ headers: type, body: "body" }));
    await until(() => received().length > 2_000_000);
    socket.resetAndDestroy();
    await until(async () => {
      const retry = await post("/r", { body: "body", headers: type });
      return ((await retry.json()) as { code: string }).code === "result-omitted";
    });
    expect(runs).toBe(1);
  });

  it("with the handler still at work keeps its key, however it left (B-76)", async () => {
    const gate = Promise.withResolvers<void>();
    let connection: Socket | undefined;
    const handler: Middleware = async (ctx) => {
      connection = ctx.req.socket;
      await gate.promise;
      ctx.body = "paid";
    };
    const post = await listenKoa(framework, { "/r": [guardKoa(), handler] });
    const { socket } = openRaw(post.port);
    socket.write(rawRequest({ headers: type, body: "body" }));
    await until(() => connection);
    socket.resetAndDestroy(); // Koa is told of an error, and would answer it
    await until(() => connection?.closed);
    for (const _ of [1, 2, 3]) {
      const retry = await post("/r", { body: "body", headers: type });
      expect(retry.status).toBe(409);
    }
    gate.resolve();
    await until(async () => (await post("/r", { body: "body", headers: type })).status === 200);
  });
});

describe("a timeout in front", () => {
  const throwing: Middleware = async (ctx, next) => {
    await Promise.race([next(), delay(20).then(() => ctx.throw(503, "slow"))]);
  };
  const answering: Middleware = async (ctx, next) => {
    const isLate = await Promise.race([next().then(() => false), delay(20, true)]);
    if (!isLate) return;
    ctx.status = 504;
    ctx.body = { slow: true };
  };
  // Nobody is left to make a response of an error: the work may be tried again (B-68).
  const freed = new Set(["ctx.throw on Koa 2", "ctx.throw on Koa 3"]);

  it.each(cases)("leaves the handler its key, which ends by %s (B-79)", async (name, given) => {
    const { framework, way } = given;
    for (const timeout of [throwing, answering]) {
      let runs = 0;
      const gate = Promise.withResolvers<void>();
      const handler: Middleware = async (ctx) => {
        runs += 1;
        await gate.promise;
        await way.end(ctx);
      };
      const post = await listenKoa(framework, { "/r": [timeout, guardKoa(), handler] });
      expect([503, 504]).toContain((await post("/r")).status);
      expect((await post("/r")).status).toBe(409);
      gate.resolve();
      const retry = await until(async () => {
        const response = await post("/r");
        return response.status === 409 ? undefined : response;
      });
      const isWhole = (await retry.text()) === (way.body ?? text);
      expect([retry.status, isWhole, runs]).toEqual([
        way.status ?? 200,
        true,
        freed.has(name) ? 2 : 1,
      ]);
    }
  });
});
