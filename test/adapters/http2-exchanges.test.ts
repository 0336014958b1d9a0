/**
 * What HTTP/2 has and HTTP/1 has not, or otherwise: pushes, windows, cancelled uploads, no headers
 * of the connection. Through Node's compatibility API, and for Hono through its Node server.
 */
import { createServer as createHttp1, request } from "node:http";
import type { IncomingMessage } from "node:http";
import { constants, createServer } from "node:http2";
import type { ClientHttp2Stream, Http2Server, IncomingHttpHeaders } from "node:http2";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createAdaptorServer } from "@hono/node-server";
import fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idempotent as guardFastify } from "../../src/adapters/fastify.ts";
import { idempotent as guardHono } from "../../src/adapters/hono.ts";
import { idempotent as guardKoa } from "../../src/adapters/koa.ts";
import { idempotent } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import type { Store } from "../../src/stores/store.ts";
import { until } from "../support/poll.ts";
import { closed, mounts, open, serve } from "../support/http2-server.ts";
import type { Answered, Listener } from "../support/http2-server.ts";

const warnings: string[] = [];
const note = ({ name, message }: Error): void => void warnings.push(`${name}: ${message}`);
beforeAll(() => void process.on("warning", note));
afterAll(() => void process.off("warning", note));

type Post = (body: string | undefined, key?: string) => Promise<Answered>;

/** The first answer that is no conflict. */
const settled = (post: Post, body: string | undefined): Promise<Answered> =>
  until(async () => {
    const answer = await post(body);
    return answer.status === 409 ? undefined : answer;
  });

const cancel = (stream: ClientHttp2Stream): Promise<unknown> => {
  stream.close(constants.NGHTTP2_CANCEL);
  return closed(stream);
};

const large = "x".repeat(300_000); // more than a window

describe.each(Object.entries(mounts))("an exchange over HTTP/2 on %s", (_name, mount) => {
  it("has its hints, pushes and trailers, and its replay none of them (B-112)", async () => {
    const { session, begin, post } = await open(mount, (_req, res) => {
      res.writeEarlyHints({ link: "</style.css>; rel=preload" });
      res.createPushResponse({ ":path": "/pushed" }, (_error, pushed) => {
        pushed.end("pushed");
        res.addTrailers({ "x-sum": "7" });
        res.end("done");
      });
    });
    const pushed: Promise<Buffer>[] = [];
    session.on("stream", (stream) => {
      pushed.push(stream.toArray().then((chunks) => Buffer.concat(chunks as Buffer[])));
    });
    const stream = begin().end("body");
    const seen: IncomingHttpHeaders[] = [];
    stream.on("headers", (head) => seen.push(head)).on("trailers", (tail) => seen.push(tail));
    expect(String(Buffer.concat((await stream.toArray()) as Buffer[]))).toBe("done");
    await until(() => seen.length === 2);
    expect(seen[0]).toMatchObject({ ":status": 103, link: "</style.css>; rel=preload" });
    expect(seen[1]).toMatchObject({ "x-sum": "7" });
    expect(await Promise.all(pushed)).toEqual([Buffer.from("pushed")]);
    const replay = await post("body");
    expect([replay.body, replay.headers["x-sum"], replay.headers.link]).toEqual([
      "done",
      undefined,
      undefined,
    ]);
    expect(pushed).toHaveLength(1);
  });

  it("never executes a part of a body whose upload was cancelled (B-77)", async () => {
    const bodies: string[] = [];
    const { begin, post } = await open(mount, async (req, res) => {
      bodies.push(String(Buffer.concat((await req.toArray()) as Buffer[])));
      res.end();
    });
    const upload = begin();
    await new Promise((resolve) => upload.write("half of ", resolve));
    upload.destroy(); // close() would end the body, and only then cancel
    await closed(upload);
    expect((await settled(post, "half of the money")).status).toBe(200);
    expect(bodies).toEqual(["half of the money"]);
  });
});

describe.each(Object.entries(mounts))("a response over HTTP/2 on %s", (_name, mount) => {
  it.each<[string, "pipeline" | "drain" | "callback"]>([
    ["a pipeline", "pipeline"],
    ["who waits for drain", "drain"],
    ["who waits for a callback", "callback"],
  ])("is recorded whole from %s when its window is full (B-76)", async (_what, how) => {
    let runs = 0;
    const { begin, post } = await open(mount, async (_req, res) => {
      runs += 1;
      const written = new Promise<void>((done) => {
        expect(res.write(large, () => done())).toBe(false);
      });
      if (how === "callback") await written;
      if (how === "drain") await once(res, "drain");
      await pipeline(Readable.from([large]), res);
    });
    const stream = begin().end("body");
    stream.pause();
    await until(() => runs === 1);
    await cancel(stream);
    const replay = await settled(post, "body");
    expect([replay.body === large + large, runs]).toEqual([true, 1]);
  });
});

describe.each(Object.entries(mounts))("a response over HTTP/2 on %s", (_name, mount) => {
  it("is recorded when its client leaves before the handler begins (B-77)", async () => {
    const gate = Promise.withResolvers<void>();
    let claims = 0;
    const store = memoryStore();
    const slow: Store = {
      ...store,
      claim: async (...args) => {
        claims += 1;
        await gate.promise;
        return store.claim(...args);
      },
    };
    let runs = 0;
    const listener: Listener = (_req, res) => {
      runs += 1;
      return pipeline(Readable.from(["one ", large]), res);
    };
    const { send, post } = await open(mount, listener, slow);
    const left = send("body");
    await until(() => claims === 1);
    await cancel(left);
    gate.resolve();
    await until(() => runs === 1);
    expect((await settled(post, "body")).body === `one ${large}`).toBe(true);
    expect(runs).toBe(1);
  });

  it("goes on when its whole session dies (B-76)", async () => {
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    const engine = createEngine({ store: memoryStore() });
    const listen = async () =>
      serve(
        await mount(engine, async (_req, res) => {
          runs += 1;
          await gate.promise;
          res.end("done");
        }),
      );
    const dying = await listen();
    void closed(dying.begin().end("body"));
    await until(() => runs === 1);
    dying.session.destroy();
    gate.resolve();
    const replay = await settled((await listen()).post, "body");
    expect([replay.body, runs]).toEqual(["done", 1]);
  });
});

type Made = () => Promise<string | Readable>;
/** Handlers that leave what was made to their framework. */
const frameworks: Readonly<Record<string, (engine: Engine, made: Made) => Promise<Http2Server>>> = {
  Fastify: async (engine, made) => {
    const app = fastify({ http2: true });
    await app.register(guardFastify(engine, { scope: "public" }));
    app.post("/r", (_request, reply) => made().then((body) => reply.type("text/plain").send(body)));
    await app.ready();
    return app.server;
  },
  Koa: async (engine, made) => {
    const app = new Koa();
    app.silent = true;
    app.use(guardKoa(engine, { scope: "public" }));
    app.use(async (ctx) => {
      ctx.type = "text/plain";
      ctx.body = await made();
    });
    const callback = app.callback();
    return createServer((req, res) => void callback(req, res));
  },
};

describe.each(Object.entries(frameworks))("what %s sends over HTTP/2", (_name, mount) => {
  it.each(["text", "stream"])(
    "as a %s is recorded, its client there or gone (B-76)",
    async (how) => {
      const gate = Promise.withResolvers<void>();
      let runs = 0;
      const engine = createEngine({ store: memoryStore() });
      const server = await mount(engine, async () => {
        runs += 1;
        if (runs === 2) await gate.promise;
        return how === "text" ? `one ${large}` : Readable.from(["one ", large]);
      });
      const { begin, post } = await serve(server);
      const first = await post(undefined, "there");
      expect([first.status, first.body === `one ${large}`]).toEqual([200, true]);
      const left = begin("gone", {}, true);
      await until(() => runs === 2);
      await cancel(left);
      gate.resolve();
      for (const key of ["there", "gone"]) {
        const replay = await settled((body) => post(body, key), undefined);
        expect(replay.headers["idempotency-replayed"]).toBe("true");
        expect(replay.headers["content-type"]).toBe(first.headers["content-type"]);
        expect(replay.body === first.body).toBe(true);
      }
      expect(runs).toBe(2);
    },
  );
});

describe("over HTTP/2 on node", () => {
  it("a record serves the other version, without headers of its connection (B-30)", async () => {
    const engine = createEngine({ store: memoryStore() });
    const guarded = idempotent(engine, { scope: "public" }, (_req, res) => {
      const isOld = res.req.httpVersionMajor === 1;
      if (isOld) res.setHeader("connection", "close").setHeader("keep-alive", "timeout=9");
      res.setHeader("link", ["</a>", "</b>"]);
      res.write("one ");
      res.end("two");
    });
    const { post } = await serve(
      createServer((req, res) => void guarded(req as never, res as never)),
    );
    const old = createHttp1((req, res) => void guarded(req, res)).listen(0, "127.0.0.1");
    await once(old, "listening");
    const { port } = old.address() as AddressInfo;
    const postOld = async (key: string): Promise<Answered> => {
      const headers = { "idempotency-key": key, connection: "close" };
      const sent = request({ port, path: "/r", method: "POST", headers }).end("body");
      const [response] = (await once(sent, "response")) as [IncomingMessage];
      const body = Buffer.concat((await response.toArray()) as Buffer[]).toString();
      return { status: response.statusCode ?? 0, headers: response.headers, body };
    };
    const pairs = [
      [await postOld("old"), await post("body", "old")],
      [await post("body", "new"), await postOld("new")],
    ] as const;
    for (const [first, replay] of pairs) {
      expect(first.headers["idempotency-replayed"]).toBeUndefined();
      expect(replay).toMatchObject({ status: 200, body: "one two" });
      expect(replay.headers).toMatchObject({ "idempotency-replayed": "true", link: "</a>, </b>" });
      expect(replay.headers).not.toHaveProperty("keep-alive", "timeout=9");
    }
    expect(Object.keys(pairs[0][1].headers)).not.toContain("connection");
    old.close();
  });

  it("an invitation to send the body goes out once (B-22)", async () => {
    const engine = createEngine({ store: memoryStore() });
    const server = createServer();
    const guarded = idempotent(engine, { scope: "public" }, (_req, res) => void res.end("done"));
    server.on("checkContinue", (req, res) => void guarded(req as never, res as never));
    server.on("request", (req, res) => void guarded(req as never, res as never));
    const { begin } = await serve(server);
    const stream = begin("k", { expect: "100-continue" });
    await once(stream, "continue");
    stream.end("body");
    expect(String(Buffer.concat((await stream.toArray()) as Buffer[]))).toBe("done");
  });

  it("a timeout answers, and the handler's end is recorded (B-79)", async () => {
    const gate = Promise.withResolvers<void>();
    const late = Promise.withResolvers<void>();
    const store = memoryStore();
    const engine = createEngine({ store });
    const guarded = idempotent(engine, { scope: "public" }, async (_req, res) => {
      await gate.promise;
      res.writeHead(201, { "content-type": "text/plain" }).end("late");
    });
    let requests = 0;
    const server = createServer((req, res) => {
      requests += 1;
      if (requests === 1) void late.promise.then(() => res.writeHead(504).end("timeout"));
      void guarded(req as never, res as never);
    });
    const { post } = await serve(server);
    const first = post("body");
    await until(async () => (await store.list({})).records.length === 1);
    late.resolve();
    expect(await first).toMatchObject({ status: 504, body: "timeout" });
    gate.resolve();
    expect(await settled(post, "body")).toMatchObject({ status: 201, body: "late" });
  });
});

describe("over HTTP/2 on Hono's Node server", () => {
  it("a request executes once, is replayed, and may be cancelled (B-26, B-55, B-76)", async () => {
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    const engine = createEngine({ store: memoryStore() });
    const app = new Hono().use(guardHono(engine, { scope: "public" })).post("/r", async (c) => {
      runs += 1;
      await gate.promise;
      return c.text(`got ${await c.req.text()}`);
    });
    const { send, post } = await serve(
      createAdaptorServer({ fetch: app.fetch, createServer }) as ReturnType<typeof createServer>,
    );
    const left = send("body");
    await until(() => runs === 1);
    await cancel(left);
    expect((await post("body")).status).toBe(409);
    gate.resolve();
    const replay = await settled(post, "body");
    expect(replay).toMatchObject({ status: 200, body: "got body" });
    expect(replay.headers["idempotency-replayed"]).toBe("true");
    expect((await post("other")).status).toBe(422);
    expect(runs).toBe(1);
  });
});

it("Node has warned of nothing that HTTP/2 does not have", () => {
  expect(warnings).toEqual([]);
});
