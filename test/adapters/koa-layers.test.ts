/** Koa's layers outside the adapter, and bodies that stream through them. */
import { PassThrough, Readable } from "node:stream";
import { createGzip, gzipSync } from "node:zlib";
import type { Middleware } from "koa";
import { describe, expect, it } from "vitest";
import { guardKoa, koas, listenKoa } from "../support/koa-servers.ts";
import { until } from "../support/poll.ts";

describe.each(koas)("layers outside on %s", (_name, framework) => {
  it("treat a replay as they treat the first response (B-31, B-32)", async () => {
    const outside: Middleware = async (ctx, next) => {
      ctx.set("access-control-allow-origin", ctx.get("origin"));
      await next();
      ctx.body = { wrapped: String(ctx.body), origin: ctx.get("origin") };
    };
    const post = await listenKoa(framework, {
      "/r": [outside, guardKoa(), (ctx) => (ctx.body = "inner")],
    });
    const asked = (origin: string) => post("/r", { headers: { origin } });
    expect(await (await asked("https://a")).json()).toEqual({
      wrapped: "inner",
      origin: "https://a",
    });
    const replay = await asked("https://b");
    expect(replay.headers.get("access-control-allow-origin")).toBe("https://b");
    expect(replay.headers.get("access-control-expose-headers")).toContain("idempotency-replayed");
    expect(await replay.json()).toEqual({ wrapped: "inner", origin: "https://b" });
  });

  it.each(["string", "stream"])("compress a %s that is recorded as it was (B-32)", async (kind) => {
    const compressing: Middleware = async (ctx, next) => {
      await next();
      if (ctx.get("accept-encoding") !== "gzip") return;
      const { body } = ctx;
      ctx.set("content-encoding", "gzip");
      if (typeof body === "string" || Buffer.isBuffer(body)) ctx.body = gzipSync(body);
      else ctx.body = (body as Readable).pipe(createGzip());
    };
    const handler: Middleware = (ctx) => {
      ctx.type = "text/plain";
      ctx.body = kind === "string" ? "plain text" : Readable.from(["plain ", "text"]);
    };
    const post = await listenKoa(framework, { "/r": [compressing, guardKoa(), handler] });
    const first = await post("/r", { headers: { "accept-encoding": "gzip" } });
    expect(first.headers.get("content-encoding")).toBe("gzip");
    expect(await first.text()).toBe("plain text");
    const retry = await post("/r", { headers: { "accept-encoding": "identity" } });
    expect(retry.headers.get("content-encoding")).toBeNull();
    expect(await retry.text()).toBe("plain text");
  });
});

describe.each(koas)("failures behind layers on %s", (_name, framework) => {
  it("that catch errors decide by the status they answer (B-68, B-69, B-72)", async () => {
    let runs = 0;
    const catching: Middleware = async (ctx, next) => {
      await next().catch((error: Error) => {
        ctx.status = Number(error.message);
        ctx.body = { failed: runs };
      });
    };
    const handler: Middleware = () => {
      runs += 1;
      throw new Error(["", "500", "429", "402"][runs]);
    };
    const post = await listenKoa(framework, { "/r": [catching, guardKoa(), handler] });
    const statuses: number[] = [];
    for (let index = 0; index < 4; index += 1) statuses.push((await post("/r")).status);
    expect(statuses).toEqual([500, 429, 402, 402]);
    expect(await (await post("/r")).json()).toEqual({ failed: 3 });
    expect(runs).toBe(3);
  });

  it("that time out leave the handler its key (B-79)", async () => {
    const gate = Promise.withResolvers<void>();
    const timeout: Middleware = async (ctx, next) => {
      const late = new Promise((resolve) => setTimeout(resolve, 30)).then(() => ctx.throw(504));
      await Promise.race([next(), late]);
    };
    const handler: Middleware = async (ctx) => {
      await gate.promise;
      ctx.status = 201;
      ctx.body = { paid: true };
    };
    const post = await listenKoa(framework, { "/r": [timeout, guardKoa(), handler] });
    expect((await post("/r")).status).toBe(504);
    expect((await post("/r")).status).toBe(409);
    gate.resolve();
    const retry = await until(async () => {
      const response = await post("/r");
      return response.status === 409 ? undefined : response;
    });
    expect([retry.status, await retry.json()]).toEqual([201, { paid: true }]);
  });
});

describe.each(koas)("streamed bodies on %s", (_name, framework) => {
  it("are recorded when their client goes away, before or amid them (B-76)", async () => {
    let runs = 0;
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    const handler: Middleware = async (ctx) => {
      runs += 1;
      const amid = ctx.get("x-amid") !== "";
      if (!amid) await gates[0].promise;
      const parts = async function* parts() {
        yield "x".repeat(100_000);
        if (amid) await gates[1].promise;
        yield "y".repeat(100_000);
      };
      ctx.body = Readable.from(parts());
    };
    const post = await listenKoa(framework, { "/r": [guardKoa(), handler] });
    const abort = new AbortController();
    const { signal } = abort;
    const headers = [{ "idempotency-key": "before" }, { "idempotency-key": "amid", "x-amid": "1" }];
    const gone = headers.map(async (given) =>
      (await post("/r", { headers: given, signal })).text(),
    );
    await until(() => runs === 2 || undefined);
    await post("/r", { headers: headers[1] ?? {} }); // the first bytes are under way by now
    abort.abort();
    await Promise.allSettled(gone);
    for (const gate of gates) gate.resolve();
    for (const given of headers) {
      const response = await until(async () => {
        const answer = await post("/r", { headers: given });
        return answer.status === 200 ? answer : undefined;
      });
      expect((await response.text()).length).toBe(200_000);
    }
    expect(runs).toBe(2);
  });

  it("that break leave the key free (B-111)", async () => {
    let runs = 0;
    const handler: Middleware = (ctx) => {
      runs += 1;
      const parts = async function* parts() {
        yield "half";
        if (runs === 1) throw new Error("cut");
      };
      ctx.body = Readable.from(parts());
    };
    const post = await listenKoa(framework, { "/r": [guardKoa(), handler] });
    const abort = new AbortController();
    const first = post("/r", { signal: abort.signal }).then((response) => response.text());
    const retry = await until(async () => {
      const response = await post("/r");
      return response.status === 409 ? undefined : response;
    });
    expect(await retry.text()).toBe("half");
    abort.abort(); // Koa 2 leaves a broken response open
    await expect(first).rejects.toThrow();
    expect(runs).toBe(2);
  });
});

describe.each(koas)("bodies that cannot be kept on %s", (_name, framework) => {
  it("of events pass at once and are omitted (B-110)", async () => {
    const events = new PassThrough();
    const handler: Middleware = (ctx) => {
      ctx.type = "text/event-stream";
      ctx.body = events;
    };
    const post = await listenKoa(framework, { "/r": [guardKoa(), handler] });
    events.write("data: 1\n\n");
    const first = await post("/r");
    const reader = first.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("data: 1\n\n");
    expect((await (await post("/r")).json()).code).toBe("in-progress");
    await reader?.cancel();
    const code = async () => (await (await post("/r")).json()).code as string;
    await until(async () => ((await code()) === "result-omitted" ? true : undefined));
  });

  it("that are too large are omitted, like other bodies (B-107)", async () => {
    let runs = 0;
    const handler: Middleware = (ctx) => {
      runs += 1;
      const bytes = Buffer.alloc(2_000_000);
      ctx.body = ctx.get("x-stream") === "" ? bytes : Readable.from([bytes, bytes]);
    };
    const post = await listenKoa(framework, { "/r": [guardKoa(), handler] });
    for (const headers of [{}, { "idempotency-key": "s", "x-stream": "1" }]) {
      const length = (await (await post("/r", { headers })).arrayBuffer()).byteLength;
      expect(length).toBeGreaterThanOrEqual(2_000_000);
      expect((await (await post("/r", { headers })).json()).code).toBe("result-omitted");
    }
    expect(runs).toBe(2);
  });
});
