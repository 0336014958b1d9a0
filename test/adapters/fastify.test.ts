/** What only Fastify has: replies, hooks, parsers, encapsulation and a route's own config. */
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import fastify from "fastify";
import type { FastifyInstance, FastifyReply } from "fastify";
import { afterEach, describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/fastify.ts";
import type { FastifyRequest } from "../../src/adapters/fastify.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";

const apps: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

const newEngine = () => createEngine({ store: memoryStore() });
const guard = () => idempotent(newEngine(), { scope: "public" });

async function listen(app: FastifyInstance) {
  apps.push(app);
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  return (path: string, init: RequestInit = {}) =>
    fetch(url + path, {
      method: "POST",
      redirect: "manual",
      ...init,
      headers: { "idempotency-key": "k", ...init.headers },
    });
}

const endings: Readonly<Record<string, (reply: FastifyReply) => unknown>> = {
  "a returned object": () => ({ a: "ü" }),
  "a returned string": () => "words",
  "send of zero": (reply) => reply.send(0),
  "send of bytes": (reply) => reply.send(Buffer.from([0, 255])),
  "send of a stream": (reply) => reply.type("text/plain").send(Readable.from(["one ", "two"])),
  "send of a stream without a type": (reply) => reply.send(Readable.from(["one ", "two"])),
  "send of a Response": (reply) => reply.send(new Response("web", { status: 201 })),
  "204": (reply) => reply.code(204).send(),
  redirect: (reply) => reply.redirect("/elsewhere", 303),
  "two links": (reply) => reply.header("link", ["<a>", "<b>"]).send("x"),
  "a late reply": (reply) => {
    setTimeout(() => void reply.code(404).send("not here"), 5);
    return reply;
  },
  "a thrown 4xx": () => {
    throw Object.assign(new Error("no such card"), { statusCode: 422 });
  },
};

describe("ways to reply on Fastify", () => {
  it.each(Object.entries(endings))(
    "%s: first as without, then replayed (B-19, B-78)",
    async (_, end) => {
      let runs = 0;
      const handler = async (_request: unknown, reply: FastifyReply): Promise<unknown> => {
        runs += 1;
        return end(reply);
      };
      const app = fastify();
      await app.register(guard());
      app.post("/plain", { config: { idempotency: false } }, handler);
      app.post("/guarded", handler);
      const post = await listen(app);
      const plain = await shownBy(await post("/plain"));
      expect(await shownBy(await post("/guarded"))).toEqual(plain);
      const retry = await post("/guarded");
      expect(retry.headers.get("idempotency-replayed")).toBe("true");
      const replay = await shownBy(retry);
      for (const part of ["status", "body", "type", "location", "link"] as const) {
        expect(replay[part]).toBe(plain[part]);
      }
      expect(runs).toBe(2);
    },
  );

  it("errors decide by the status their handler answers (B-68, B-69, B-71)", async () => {
    let runs = 0;
    const app = fastify();
    await app.register(guard());
    app.setErrorHandler(async (error: Error, _request, reply) =>
      reply.code(error.message === "broken" ? 503 : 402).send(error.message),
    );
    app.post("/r", () => {
      runs += 1;
      throw new Error(runs === 1 ? "broken" : "declined");
    });
    const post = await listen(app);
    const answers: string[] = [];
    for (let index = 0; index < 3; index += 1) answers.push(await (await post("/r")).text());
    expect(answers).toEqual(["broken", "declined", "declined"]);
    expect(runs).toBe(2);
  });
});

async function shownBy(response: Response) {
  const { headers } = response;
  return {
    status: response.status,
    body: Buffer.from(await response.arrayBuffer()).toString("latin1"),
    type: headers.get("content-type"),
    location: headers.get("location"),
    link: headers.get("link"),
    names: [...headers.keys()].filter((name) => name !== "date"),
  };
}

describe("routes on Fastify", () => {
  it("are told apart by pattern and target (B-58, B-59, B-62)", async () => {
    const app = fastify();
    let runs = 0;
    await app.register(guard());
    await app.register(
      async (orders) => {
        orders.post("/:id/capture", async () => `run ${(runs += 1)}`);
      },
      { prefix: "/orders" },
    );
    app.post("/refunds", async () => `run ${(runs += 1)}`);
    const post = await listen(app);
    const json = { headers: { "content-type": "application/json" }, body: '{"a":1,"b":2}' };
    expect(await (await post("/orders/1/capture", json)).text()).toBe("run 1");
    const same = { ...json, body: '{ "b":2, "a":1 }' };
    expect(await (await post("/orders/1/capture", same)).text()).toBe("run 1");
    expect((await post("/orders/2/capture", json)).status).toBe(422);
    expect((await post("/orders/1/capture", { ...json, body: '{"a":2}' })).status).toBe(422);
    expect(await (await post("/refunds", json)).text()).toBe("run 2");
  });

  it("say more in their config, or nothing (B-2)", async () => {
    const app = fastify();
    let runs = 0;
    await app.register(guard());
    const handler = async () => `run ${(runs += 1)}`;
    app.post("/strict", { config: { idempotency: { required: true } } }, handler);
    app.post("/free", { config: { idempotency: false } }, handler);
    const post = await listen(app);
    const bare = await post("/strict", { headers: { "idempotency-key": "" } });
    expect(bare.status).toBe(400);
    for (const _ of [1, 2]) await post("/free");
    expect(runs).toBe(2);
    const wrong = { config: { idempotency: { record: "nothing" } } } as object;
    expect(() => fastify().register(guard()).post("/x", wrong, handler)).not.toThrow();
    const broken = fastify();
    await broken.register(guard());
    expect(() => broken.post("/x", wrong, handler)).toThrow(/record must be/);
  });

  it("registered before the plugin are refused, not left unprotected", async () => {
    let runs = 0;
    const handler = async () => `run ${(runs += 1)}`;
    const app = fastify();
    app.post("/early", handler).get("/read", handler);
    app.post("/free", { config: { idempotency: false } }, handler);
    await app.register(guard());
    app.post("/late", handler);
    const post = await listen(app);
    const early = await post("/early");
    expect([early.status, runs]).toEqual([500, 0]);
    expect(await early.text()).toContain(
      "The route POST /early was registered before idempotent()",
    );
    for (const path of ["/late", "/free"]) expect((await post(path)).status).toBe(200);
    expect((await post("/read", { method: "GET" })).status).toBe(200);
    expect((await post("/nowhere")).status).toBe(404);
  });

  it("that differ in a constraint only are different operations (B-59)", async () => {
    const app = fastify();
    await app.register(guard());
    for (const version of ["1.0.0", "2.0.0"]) {
      app.post("/r", { constraints: { version } }, async () => version);
    }
    const post = await listen(app);
    const at = async (version: string) => {
      const response = await post("/r", { headers: { "accept-version": version } });
      return [await response.text(), response.headers.get("idempotency-replayed")];
    };
    expect(await at("1.0.0")).toEqual(["1.0.0", null]);
    expect(await at("2.0.0")).toEqual(["2.0.0", null]);
    expect(await at("1.x")).toEqual(["1.0.0", "true"]);
  });

  it("run behind authentication, with the user as scope (B-21, B-39, B-100)", async () => {
    const app = fastify();
    type Authenticated = FastifyRequest & { user?: string };
    app.addHook("preHandler", async (request, reply) => {
      const user = request.headers["x-user"];
      if (user === undefined) return reply.code(401).send("who?");
      return void ((request as Authenticated).user = String(user));
    });
    const scope = (request: Authenticated) => request.user;
    await app.register(idempotent(newEngine(), { scope }));
    app.post("/r", async (request) => {
      const { key, scope: whose, attempt } = request.idempotency ?? {};
      return { key, whose, attempt };
    });
    const post = await listen(app);
    const as = (user: string) => ({ headers: { "x-user": user } });
    expect(await (await post("/r", as("a"))).json()).toEqual({ key: "k", whose: "a", attempt: 1 });
    expect(await (await post("/r", as("b"))).json()).toMatchObject({ whose: "b" });
    expect((await post("/r")).status).toBe(401);
  });
});

describe("layers around on Fastify", () => {
  it("keep their headers, and may compress what leaves (B-31, B-32, B-105)", async () => {
    const app = fastify();
    app.addHook("onRequest", (request, reply, done) => {
      reply.header("access-control-allow-origin", request.headers.origin ?? "*");
      done();
    });
    app.addHook("onSend", async (request, reply, payload) => {
      const accepts = request.headers["accept-encoding"]?.includes("gzip") === true;
      if (!accepts || reply.hasHeader("content-encoding")) return payload;
      reply.header("content-encoding", "gzip").removeHeader("content-length");
      return gzipSync(payload as string);
    });
    await app.register(guard());
    app.post("/r", async () => "plain words");
    const post = await listen(app);
    for (const encoding of ["gzip", "identity", "gzip"]) {
      const headers = { "accept-encoding": encoding, origin: `https://${encoding}.example` };
      const response = await post("/r", { headers });
      expect(await response.text()).toBe("plain words");
      expect(response.headers.get("access-control-allow-origin")).toBe(headers.origin);
    }
    const replay = await post("/r", { headers: { origin: "https://a.example" } });
    const exposed = replay.headers.get("access-control-expose-headers");
    expect(exposed).toContain("idempotency-replayed");
  });
});
