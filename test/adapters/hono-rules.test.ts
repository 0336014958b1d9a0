/** The rules of HTTP through Hono on its Node server, over real sockets. */
import { compress } from "hono/compress";
import { cors } from "hono/cors";
import { Hono } from "hono";
import { setCookie } from "hono/cookie";
import { stream, streamSSE } from "hono/streaming";
import { timeout } from "hono/timeout";
import { describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/hono.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { guardHono, listenHono, openEngine } from "../support/hono-server.ts";
import { until } from "../support/poll.ts";

describe("keys on Hono", () => {
  it("may be missing, unless they are required (B-1, B-2)", async () => {
    let runs = 0;
    const app = new Hono();
    app.post("/free", guardHono(), (c) => c.text(String((runs += 1))));
    app.post("/required", guardHono({ required: true }), (c) => c.text(String((runs += 1))));
    const post = await listenHono(app);
    const none = { headers: { "idempotency-key": undefined } };
    for (const run of ["1", "2"]) {
      const response = await post("/free", none);
      expect(await response.text()).toBe(run);
      expect(response.headers.get("idempotency-replayed")).toBeNull();
    }
    const refused = await post("/required", none);
    expect(refused.headers.get("content-type")).toBe("application/problem+json");
    expect(refused.headers.get("cache-control")).toBe("no-store");
    expect(refused.headers.get("link")).toMatch(/rel="describedby"/);
    expect(await refused.json()).toMatchObject({ status: 400, code: "key-missing" });
    expect(runs).toBe(2);
  });

  it("are the same quoted and bare, and belong to a scope (B-4, B-27, B-100, B-101)", async () => {
    let runs = 0;
    const scoped = idempotent(openEngine(), { scope: (c) => c.req.raw.headers.get("x-user") });
    const app = new Hono().post("/r", scoped, (c) => c.text(String((runs += 1))));
    const post = await listenHono(app);
    const as = (user: string, key = "k") =>
      post("/r", { headers: { "x-user": user, "idempotency-key": key } });
    expect((await as("a")).headers.get("idempotency-replayed")).toBeNull();
    const replay = await as("a", '"k"');
    expect([replay.headers.get("idempotency-replayed"), await replay.text()]).toEqual([
      "true",
      "1",
    ]);
    expect(await (await as("b")).text()).toBe("2");
    expect((await as("")).status).toBe(400);
    expect(runs).toBe(2);
    expect(() => idempotent(openEngine(), {} as never)).toThrow(TypeError);
  });

  it("run unprotected on an open route while the store is down (B-94)", async () => {
    const claim = () => Promise.reject(new Error("down"));
    const engine = openEngine({ store: { ...memoryStore(), claim }, storeTimeout: "50ms" });
    const app = new Hono();
    app.post("/open", idempotent(engine, { scope: "public", onStoreError: "open" }), (c) =>
      c.text("done"),
    );
    app.post("/closed", idempotent(engine, { scope: "public" }), (c) => c.text("done"));
    const post = await listenHono(app);
    const response = await post("/open");
    expect([response.status, response.headers.get("idempotency-status")]).toEqual([
      200,
      "bypassed",
    ]);
    expect(await response.text()).toBe("done");
    expect((await post("/closed")).status).toBe(503);
  });
});

describe("conflicts on Hono", () => {
  it("refuse 49 of 50 at once, then replay to all (B-43, B-44, B-46)", async () => {
    let runs = 0;
    let refused = 0;
    const gate = Promise.withResolvers<void>();
    const app = new Hono().post("/r", guardHono(), async (c) => {
      runs += 1;
      await gate.promise;
      return c.text(`run ${runs}`);
    });
    const post = await listenHono(app);
    const all = Array.from({ length: 50 }, async () => {
      const response = await post("/r");
      if (response.status === 409) refused += 1;
      if (refused === 49) gate.resolve();
      return response;
    });
    const conflicts = (await Promise.all(all)).filter((answer) => answer.status === 409);
    expect(conflicts).toHaveLength(49);
    expect(Number(conflicts[0]?.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(await conflicts[0]?.json()).toMatchObject({ code: "in-progress" });
    expect(await (await post("/r")).text()).toBe("run 1");
    expect(runs).toBe(1);
  });

  it("may wait for the result (B-49)", async () => {
    let runs = 0;
    const events: string[] = [];
    const gate = Promise.withResolvers<void>();
    const engine = openEngine({ onEvent: (event) => void events.push(event.kind) });
    const waiting = idempotent(engine, { scope: "public", onConflict: { wait: "10s" } });
    const app = new Hono().post("/r", waiting, async (c) => {
      runs += 1;
      await gate.promise;
      return c.text("done");
    });
    const post = await listenHono(app);
    const first = post("/r");
    await until(() => runs === 1 || undefined);
    const duplicate = post("/r");
    await until(() => events.includes("waited") || undefined);
    gate.resolve();
    expect(await (await first).text()).toBe("done");
    expect((await duplicate).headers.get("idempotency-replayed")).toBe("true");
    expect(runs).toBe(1);
  });

  it("last while a handler works on behind a timeout (B-79)", async () => {
    const gate = Promise.withResolvers<void>();
    const app = new Hono().post("/r", timeout(30), guardHono(), async (c) => {
      await gate.promise;
      return c.text("done", 201);
    });
    const post = await listenHono(app);
    expect((await post("/r")).status).toBe(504);
    expect((await post("/r")).status).toBe(409);
    gate.resolve();
    const retry = await until(async () => {
      const response = await post("/r");
      return response.status === 201 ? response : undefined;
    });
    expect(await retry.text()).toBe("done");
  });
});

describe("layers outside on Hono", () => {
  it("keep their headers on a replay, and cookies stay out of it (B-29, B-31)", async () => {
    const app = new Hono();
    app.use(cors({ origin: ["https://a", "https://b"], exposeHeaders: ["X-Own"] }));
    app.use(async (c, next) => {
      c.header("x-request-id", c.req.header("x-request-id"));
      await next();
    });
    app.post("/r", guardHono(), (c) => {
      setCookie(c, "s", "1");
      setCookie(c, "t", "2");
      return c.text("done");
    });
    const post = await listenHono(app);
    const first = await post("/r", { headers: { origin: "https://a", "x-request-id": "1" } });
    expect(first.headers.getSetCookie()).toHaveLength(2);
    const replay = await post("/r", { headers: { origin: "https://b", "x-request-id": "2" } });
    expect(replay.headers.get("access-control-allow-origin")).toBe("https://b");
    const exposed = replay.headers.get("access-control-expose-headers");
    expect(exposed).toBe("X-Own, idempotency-replayed, idempotency-original-date");
    expect(replay.headers.get("x-request-id")).toBe("2");
    expect(replay.headers.getSetCookie()).toEqual([]);
  });

  it("compress what is recorded as it was (B-32)", async () => {
    const app = new Hono().use(compress());
    app.post("/r", guardHono(), (c) => c.text("text ".repeat(1000)));
    const post = await listenHono(app);
    const first = await post("/r", { headers: { "accept-encoding": "gzip" } });
    expect(first.headers.get("content-encoding")).toBe("gzip");
    const retry = await post("/r", { headers: { "accept-encoding": "identity" } });
    expect(retry.headers.get("content-encoding")).toBeNull();
    expect(await retry.text()).toBe(await first.text());
  });
});

describe("streams on Hono", () => {
  it("are recorded though their client goes away (B-76, B-109)", async () => {
    let runs = 0;
    const gate = Promise.withResolvers<void>();
    const app = new Hono().post("/r", guardHono(), (c) => {
      runs += 1;
      return stream(c, async (out) => {
        await out.write("one ");
        await gate.promise;
        await out.write("two");
      });
    });
    const post = await listenHono(app);
    const abort = new AbortController();
    const first = await post("/r", { signal: abort.signal });
    const reader = first.body?.getReader();
    expect((await reader?.read())?.value?.length).toBeGreaterThan(0);
    abort.abort();
    await expect(reader?.read()).rejects.toThrow();
    gate.resolve();
    const retry = await until(async () => {
      const response = await post("/r");
      return response.status === 200 ? response : undefined;
    });
    expect([await retry.text(), runs]).toEqual(["one two", 1]);
  });

  it("of events pass at once and are omitted, as is what is too large (B-107, B-110)", async () => {
    let runs = 0;
    const gate = Promise.withResolvers<void>();
    const app = new Hono();
    app.post("/events", guardHono(), (c) =>
      streamSSE(c, async (events) => {
        await events.writeSSE({ data: "1" });
        await gate.promise;
      }),
    );
    app.post("/large", guardHono(), (c) => {
      runs += 1;
      return c.body(new Uint8Array(2_000_000));
    });
    const post = await listenHono(app);
    const first = await post("/events");
    const reader = first.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("data: 1\n\n");
    expect((await (await post("/events")).json()).code).toBe("in-progress");
    gate.resolve();
    expect((await reader?.read())?.done).toBe(true);
    expect((await (await post("/events")).json()).code).toBe("result-omitted");
    expect((await (await post("/large")).arrayBuffer()).byteLength).toBe(2_000_000);
    expect((await (await post("/large")).json()).code).toBe("result-omitted");
    expect(runs).toBe(1);
  });
});

describe("handlers on Hono", () => {
  it("find their claim in the context, and overrule by it (B-21, B-33, B-34, B-74)", async () => {
    let runs = 0;
    const app = new Hono().post("/r", guardHono(), (c) => {
      runs += 1;
      const idempotency = c.get("idempotency");
      if (runs === 1) idempotency?.skip();
      if (runs === 2) idempotency?.record();
      return c.text(`${idempotency?.key} ${c.var.idempotency?.attempt}`, runs === 2 ? 503 : 200);
    });
    const post = await listenHono(app);
    const answers: unknown[] = [];
    for (let index = 0; index < 3; index += 1) {
      const response = await post("/r");
      answers.push([response.status, await response.text()]);
    }
    expect(answers).toEqual([
      [200, "k 1"],
      [503, "k 2"],
      [503, "k 2"],
    ]);
  });
});
