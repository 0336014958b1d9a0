/**
 * The option `transaction` as handlers of each framework use it: what they return and what they
 * throw, in the framework's own words.
 */
import { createServer } from "node:http";
import type { Server } from "node:http";
import { createAdaptorServer } from "@hono/node-server";
import { ConflictException, Controller, Post } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import express from "express";
import type { Express } from "express";
import express4 from "express4";
import fastify from "fastify";
import type { FastifyReply } from "fastify";
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import Koa from "koa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idempotent as onExpress } from "../../src/adapters/express.ts";
import { idempotent as onFastify } from "../../src/adapters/fastify.ts";
import { idempotent as onHono } from "../../src/adapters/hono.ts";
import { idempotent as onKoa } from "../../src/adapters/koa.ts";
import { IdempotencyOf, LatchkeyModule } from "../../src/adapters/nest.ts";
import type { Idempotency } from "../../src/adapters/nest.ts";
import { createEngine } from "../../src/index.ts";
import type { Engine, Transactions } from "../../src/index.ts";
import type { Pool } from "pg";
import { portOf } from "../support/raw-socket.ts";
import { startPgWorld } from "../support/transactions.ts";
import type { World } from "../support/transactions.ts";

/** What a handler is to do under its `Idempotency`: resolves to its body, or throws. */
type Work = (idempotency: Idempotency | undefined, refuse: () => never) => Promise<object>;
interface Protection {
  readonly engine: Engine;
  readonly scope: "public";
  readonly transaction: Transactions<unknown>;
}
type Serve = (protection: Protection, work: Work) => Server | Promise<Server>;

const onExpressOf =
  (framework: () => Express): Serve =>
  ({ engine, ...options }, work) => {
    const app = framework().set("env", "test"); // keeps its error handler from logging
    app.post("/orders", onExpress(engine, options), (req, res, next) => {
      const refuse = (): never => {
        throw Object.assign(new Error("no stock"), { status: 409 });
      };
      work(req.idempotency, refuse).then((body) => res.status(201).json(body), next);
    });
    return createServer(app);
  };

const onFastifyWith =
  (fail: (failure: Error, reply: FastifyReply) => unknown): Serve =>
  async ({ engine, ...options }, work) => {
    const app = fastify();
    await app.register(onFastify(engine, options));
    app.setErrorHandler((error: { readonly statusCode?: number }, _request, reply) =>
      reply.code(error.statusCode ?? 500).send({ told: "by the error handler" }),
    );
    app.post("/orders", (request, reply) => {
      const refuse = (): never => {
        throw Object.assign(new Error("no stock"), { statusCode: 409 });
      };
      const done = work(request.idempotency ?? undefined, refuse);
      return done.then(
        (body) => reply.code(201).send(body),
        (failure: Error) => fail(failure, reply),
      );
    });
    await app.ready();
    return app.server;
  };

const frameworks: Readonly<Record<string, Serve>> = {
  "Express 4": onExpressOf(express4),
  "Express 5": onExpressOf(express),
  Hono: ({ engine, ...options }, work) => {
    const app = new Hono();
    app.post("/orders", onHono(engine, options), async (c) => {
      const refuse = (): never => {
        throw new HTTPException(409, { message: "no stock" });
      };
      return c.json(await work(c.get("idempotency"), refuse), 201);
    });
    app.onError((error, c) =>
      error instanceof HTTPException ? error.getResponse() : c.text("failed", 500),
    );
    return createAdaptorServer({ fetch: app.fetch }) as Server;
  },
  Koa: ({ engine, ...options }, work) => {
    const app = new Koa();
    app.silent = true;
    app.use(onKoa(engine, options));
    app.use(async (ctx) => {
      ctx.body = await work(ctx.state.idempotency, () => ctx.throw(409, "no stock"));
      ctx.status = 201;
    });
    const callback = app.callback();
    return createServer((req, res) => void callback(req, res));
  },
  "Fastify, thrown": onFastifyWith((failure) => {
    throw failure;
  }),
  "Fastify, sent": onFastifyWith((failure, reply) => reply.send(failure)),
  "Nest on Express": (protection, work) => serveNest(new ExpressAdapter(), protection, work),
  "Nest on Fastify": (protection, work) => serveNest(new FastifyAdapter(), protection, work),
};

async function serveNest(
  platform: ExpressAdapter | FastifyAdapter,
  protection: Protection,
  work: Work,
): Promise<Server> {
  @Controller("orders")
  class Orders {
    @Post()
    order(@IdempotencyOf() idempotency: Idempotency | undefined): Promise<object> {
      return work(idempotency, () => {
        throw new ConflictException("no stock");
      });
    }
  }
  class Root {
    readonly name = "root";
  }
  const imports = [LatchkeyModule.forRoot(protection)];
  const root = { module: Root, imports, controllers: [Orders] };
  const app = await NestFactory.create(root, platform, { logger: false, abortOnError: false });
  await app.init();
  if (platform instanceof FastifyAdapter) await platform.getInstance().ready();
  return app.getHttpServer() as Server;
}

let world: World;
beforeAll(async () => {
  world = await startPgWorld();
});
afterAll(() => world.close());
let keys = 0;

for (const [name, serve] of Object.entries(frameworks)) {
  describe(`a transaction over ${name}`, () => {
    let listening: Server;
    let port: number;
    let then: (refuse: () => never, tx: Pool, key: string) => unknown;
    beforeAll(async () => {
      const { store, transaction } = world;
      const engine = createEngine({ store });
      listening = await serve(
        { engine, scope: "public", transaction },
        async (idempotency, refuse) => {
          const key = idempotency?.key ?? "";
          const tx = idempotency?.transaction(transaction);
          await world.effect(tx, key);
          await then(refuse, tx as Pool, key);
          return { ordered: key };
        },
      );
      port = await portOf(listening);
    });
    afterAll(() => {
      listening.closeAllConnections();
      listening.close();
    });

    const newKey = (): string => `own-words-${(keys += 1)}`;
    const post = (key: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}/orders`, {
        method: "POST",
        headers: { "idempotency-key": key },
      });
    /** The next try finds a free key: it is the first attempt, and has the only effect. */
    async function isFree(key: string): Promise<void> {
      expect(await world.effects(key)).toBe(0);
      then = () => undefined;
      const next = await post(key);
      expect([next.status, next.headers.get("idempotency-attempt")]).toEqual([201, null]);
      expect(await world.effects(key)).toBe(1);
    }

    it("commits effect and record together, then answers", async () => {
      const key = newKey();
      then = () => undefined;
      for (const replayed of [null, "true"]) {
        const response = await post(key);
        expect([response.status, await response.json()]).toEqual([201, { ordered: key }]);
        expect(response.headers.get("idempotency-replayed")).toBe(replayed);
        expect(await world.effects(key)).toBe(1);
      }
    });

    it("rolls back what a handler throws: the key is free", async () => {
      const key = newKey();
      then = () => Promise.reject(new Error("bank is down"));
      expect((await post(key)).status).toBe(500);
      await isFree(key);
    });

    it("rolls back a refusal that is thrown, although its status is one to record", async () => {
      const key = newKey();
      then = (refuse) => refuse();
      expect((await post(key)).status).toBe(409);
      await isFree(key);
    });

    it("answers a COMMIT that failed with 503, and records nothing", async () => {
      const key = newKey();
      then = (_refuse, tx) =>
        tx.query("INSERT INTO effects (key, note) VALUES ($1, 'n'), ($1, 'n')", [key]);
      const response = await post(key);
      expect([response.status, await response.json()]).toMatchObject([
        503,
        { code: "store-unavailable" },
      ]);
      await isFree(key);
    });

    it("refuses a duplicate at once, while the first is at work", async () => {
      const key = newKey();
      const begun = Promise.withResolvers<void>();
      const end = Promise.withResolvers<void>();
      then = () => {
        begun.resolve();
        return end.promise;
      };
      const first = post(key);
      await begun.promise;
      const duplicate = await post(key);
      expect([duplicate.status, await duplicate.json()]).toMatchObject([
        409,
        { code: "in-progress" },
      ]);
      end.resolve();
      expect([(await first).status, await world.effects(key)]).toEqual([201, 1]);
    });
  });
}

it.each([["before its routes"], ["in a route of its own"]] as const)(
  "on Express, apart from its handler, it is refused: %s",
  async (where) => {
    const { store, transaction } = world;
    const guard = onExpress(createEngine({ store }), { scope: "public", transaction });
    const app = express().set("env", "test");
    if (where === "before its routes") app.use(guard);
    else app.post("/orders", guard);
    let runs = 0;
    app.post("/orders", (_req, res) => {
      runs += 1;
      res.end();
    });
    const listening = createServer(app);
    const url = `http://127.0.0.1:${await portOf(listening)}/orders`;
    const post = () => fetch(url, { method: "POST", headers: { "idempotency-key": where } });
    const [one, other] = [await post(), await post()];
    expect([one.status, other.status, runs]).toEqual([500, 500, 0]);
    expect(await other.text()).toContain("must stand beside its handler");
    listening.closeAllConnections();
    listening.close();
  },
);
