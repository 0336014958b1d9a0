/** What the fetch adapter is called with: requests, and what the platform says beside them. */
import { describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/fetch.ts";
import type { FetchOptions } from "../../src/adapters/fetch.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { EngineOptions } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { until } from "../support/poll.ts";

type Init = RequestInit & { readonly duplex?: "half" };

const engineOf = (options: Partial<EngineOptions> = {}) =>
  createEngine({ store: memoryStore(), ...options });

const requestOf = ({ headers, ...init }: Init = {}): Request =>
  new Request("http://h/r", {
    method: "POST",
    ...init,
    headers: { "idempotency-key": "k", ...(headers as object) },
  });

function guard(
  handler: (request: Request) => Response | Promise<Response>,
  options: Partial<FetchOptions<Request>> = {},
) {
  return idempotent(engineOf(), handler, { scope: "public", ...options });
}

const inParts = (...parts: readonly string[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start: (controller) => {
      for (const part of parts) controller.enqueue(Buffer.from(part));
      controller.close();
    },
  });

describe("a request to the fetch adapter", () => {
  it("is told from its retries by a body of any kind (B-22, B-55)", async () => {
    const bodies: readonly (() => Init)[] = [
      () => ({ body: "text" }),
      () => ({ body: Buffer.from([0, 255]) }),
      () => ({ body: new Blob(["blob"], { type: "a/b" }) }),
      () => ({ body: new URLSearchParams({ a: "1" }) }),
      () => ({ body: inParts("in ", "parts"), duplex: "half" }),
      () => ({ body: "", headers: { "content-type": "a/empty" } }),
    ];
    for (const body of bodies) {
      let runs = 0;
      const echo = guard(async (request) => {
        runs += 1;
        return new Response(await request.arrayBuffer());
      });
      const sent = await new Response(body().body as BodyInit).text();
      for (const _ of [1, 2]) {
        expect(await (await echo(requestOf(body()))).text()).toBe(sent);
      }
      expect((await echo(requestOf({ body: "another" }))).status).toBe(422);
      expect(runs).toBe(1);
    }
  });

  it("keeps its form readable (B-22)", async () => {
    const form = new FormData();
    form.set("amount", "42");
    const handler = guard(async (request) => {
      const given = await request.formData();
      return Response.json([...given.keys(), ...given.values()]);
    });
    expect(await (await handler(requestOf({ body: form }))).json()).toEqual(["amount", "42"]);
  });

  it("is refused when its body is too large, whatever length it declares (B-106)", async () => {
    let runs = 0;
    const small = guard(() => new Response(String((runs += 1))), { maxRequestBytes: 4 });
    const large: readonly Init[] = [
      { body: "12345", headers: { "content-length": "5" } },
      { body: "12345", headers: { "content-length": "1" } },
      { body: inParts("123", "45"), duplex: "half" },
    ];
    for (const init of large) expect((await small(requestOf(init))).status).toBe(413);
    expect(runs).toBe(0);
    expect((await small(requestOf({ body: "1234" }))).status).toBe(200);
  });

  it("whose body was read before says so, and claims nothing", async () => {
    const handler = guard((request) => new Response(request.body));
    const request = requestOf({ body: "body" });
    await request.text();
    await expect(handler(request)).rejects.toThrow("was read before idempotent()");
    expect(await (await handler(requestOf({ body: "body" }))).text()).toBe("body");
  });

  it("without a protected method passes, its response untouched (B-16)", async () => {
    const response = Response.redirect("http://h/elsewhere");
    const handler = guard(() => response);
    for (const method of ["GET", "HEAD", "PUT"]) {
      expect(await handler(requestOf({ method }))).toBe(response);
    }
  });

  it("that breaks off while it is read claims nothing (B-77)", async () => {
    let runs = 0;
    const handler = guard(() => new Response(String((runs += 1))));
    const body = new ReadableStream({ start: (c) => c.error(new Error("cut")) });
    expect((await handler(requestOf({ body, duplex: "half" }))).status).toBe(400);
    expect(await (await handler(requestOf())).text()).toBe("1");
  });
});

describe("what the platform passes beside a request", () => {
  it("reaches handler, scope and key (B-100)", async () => {
    interface Env {
      readonly tenant: string;
    }
    const handler = idempotent(
      engineOf(),
      async (_request: Request, env: Env, place: number) =>
        Response.json({ tenant: env.tenant, place }),
      { scope: (_request, env) => env.tenant, key: (_request, _env, place) => `key-${place}` },
    );
    const answers = [
      await handler(requestOf(), { tenant: "a" }, 1),
      await handler(requestOf(), { tenant: "a" }, 1),
      await handler(requestOf(), { tenant: "b" }, 1),
      await handler(requestOf(), { tenant: "a" }, 2),
    ];
    const replays = answers.map(({ headers }) => headers.has("idempotency-replayed"));
    expect(replays).toEqual([false, true, false, false]);
    expect(await answers[1]?.json()).toEqual({ tenant: "a", place: 1 });
  });

  it("is told of work by its waitUntil, until the result is recorded (B-95)", async () => {
    const store = memoryStore();
    const gate = Promise.withResolvers<void>();
    const complete: typeof store.complete = async (...args) => {
      await gate.promise;
      return store.complete(...args);
    };
    const engine = engineOf({ store: { ...store, complete }, storeTimeout: "30ms" });
    const told: Promise<unknown>[] = [];
    const ctx = { waitUntil: (work: Promise<unknown>) => void told.push(work) };
    const handler = idempotent(
      engine,
      (_request: Request, _env: object, _ctx: typeof ctx) => new Response("paid"),
      { scope: "public" },
    );
    expect(await (await handler(requestOf(), {}, ctx)).text()).toBe("paid");
    let isOver = false;
    const over = Promise.all(told).then(() => (isOver = true));
    expect(told.length).toBeGreaterThan(0);
    expect((await handler(requestOf(), {}, ctx)).status).toBe(409);
    expect(isOver).toBe(false);
    gate.resolve();
    await over;
    expect((await handler(requestOf(), {}, ctx)).headers.has("idempotency-replayed")).toBe(true);
  });

  it("is asked in the route's own words where those are given, and may refuse", async () => {
    const told: unknown[] = [];
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): void => void warnings.push(message);
    process.on("warning", onWarning);
    const handler = idempotent(engineOf(), (_request: Request, _ctx: object) => new Response("x"), {
      scope: "public",
      waitUntil: (_work, request, ctx) => {
        told.push([request.method, ctx]);
        throw new Error("outside of a request");
      },
    });
    const ctx = { waitUntil: () => expect.unreachable() };
    expect((await handler(requestOf(), ctx)).status).toBe(200);
    expect(told[0]).toEqual(["POST", ctx]);
    await until(() => warnings.some((text) => text.includes("outside of a request")));
    process.off("warning", onWarning);
    expect((await handler(requestOf(), ctx)).headers.has("idempotency-replayed")).toBe(true);
  });
});
