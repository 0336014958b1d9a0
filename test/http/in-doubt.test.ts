/** Requests in doubt over HTTP: refused, healed by their owner, resolved by an operator. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { resolveWithResponse } from "../../src/http/operators/resolve-with-response.ts";
import type { ResponseWord } from "../../src/http/operators/resolve-with-response.ts";
import type { HttpOptions } from "../../src/http/policy.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { storeFromUrl } from "../../src/stores/store-from-url.ts";
import type { Store } from "../../src/stores/store.ts";
import { until } from "../support/poll.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisProcess } from "../support/redis-server.ts";

let redis: RedisProcess;
let folder: string;
beforeAll(async () => {
  redis = await startRedis();
  folder = mkdtempSync(join(tmpdir(), "latchkey-doubt-"));
});
afterAll(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true });
});
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const stores = [
  ["memory", async () => memoryStore()],
  ["SQLite", () => storeFromUrl(`sqlite:${join(folder, "records.db")}`)],
  ["Redis", () => storeFromUrl(redis.url)],
] as const;
const signed = { by: "ann", note: "asked the bank" };
let keys = 0;

/** A route whose first owner commits, loses the store, and answers when the test says so. */
async function serve(
  open: (typeof stores)[number][1],
  options: Partial<HttpOptions<unknown>> & { readonly commits?: boolean } = {},
) {
  const { commits = true, ...route } = options;
  const store = await open();
  const cut: Store = { ...store, renew: () => Promise.reject(new Error("unreachable")) };
  const engine = createEngine({ store: cut, lease: "150ms", storeTimeout: "1s" });
  const ending = Promise.withResolvers<void>();
  const settings = { scope: "public", operation: "POST /r", ...route } as const;
  let runs = 0;
  const guarded = idempotent(engine, settings, async (_, res, idempotency) => {
    runs += 1;
    if (runs === 1) {
      if (commits) await idempotency?.commit();
      await ending.promise;
    }
    res.setHeader("x-not-kept", "1").end(`run ${runs}`);
  });
  const server = createServer((req, res) => void guarded(req, res)).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(
    () => store.close(),
    () => engine.close(1000),
    () => server.close() && server.closeAllConnections(),
    () => ending.resolve(),
  );
  const { port } = server.address() as AddressInfo;
  const key = `key-${(keys += 1)}`;
  const post = (body = "pay"): Promise<Response> => {
    const headers = { "idempotency-key": key };
    return fetch(`http://127.0.0.1:${port}/r`, { method: "POST", headers, body });
  };
  const first = post();
  first.catch(() => undefined); // told to whoever asks
  await until(() => runs === 1 || undefined);
  /** The first refusal that no retry will change. */
  const refused = () =>
    until(async () => {
      const response = await post();
      expect(response.status).toBe(409);
      return response.headers.has("retry-after") ? undefined : response;
    });
  const target = { operation: "POST /r", key };
  return { engine, store, post, first, refused, target, end: ending.resolve, runs: () => runs };
}

describe.each(stores)("a request in doubt on %s", (_name, open) => {
  it("is refused for good, and never taken over (B-75, B-88)", async () => {
    for (const options of [{}, { commits: false, onAbandoned: "in-doubt" }] as const) {
      const { refused, post, runs, store, engine, target } = await serve(open, options);
      const refusal = await refused();
      expect(await refusal.json()).toMatchObject({ code: "outcome-unknown", status: 409 });
      expect(refusal.headers.get("x-should-retry")).toBe("false");
      for (let retry = 0; retry < 3; retry += 1) expect((await post()).status).toBe(409);
      expect((await post("another body")).status).toBe(422);
      expect(runs()).toBe(1);
      const { records } = await store.list({ state: "in-doubt" });
      expect(records.map(({ id }) => id)).toContain((await engine.find(target))?.id);
    }
  });

  it("is healed by its late owner: retries get its response", async () => {
    const { refused, first, end, post, runs } = await serve(open);
    await refused();
    end();
    const own = await first;
    expect([own.status, await own.text()]).toEqual([200, "run 1"]);
    const retry = await post();
    expect([retry.status, await retry.text()]).toEqual([200, "run 1"]);
    expect(retry.headers.get("idempotency-replayed")).toBe("true");
    expect(runs()).toBe(1);
  });

  it("is resolved with a response: every retry gets exactly that", async () => {
    const { refused, engine, target, post, runs } = await serve(open);
    await refused();
    const body = Uint8Array.from({ length: 256 }, (_, index) => index);
    const headers = [
      ["content-type", "application/x-receipt"],
      ["Location", "/payments/7"],
      ["x-receipt", "7"],
      ["link", "</a>; rel=a"],
      ["link", "</b>; rel=b"],
    ] as const;
    const word = { outcome: "completed", status: 201, headers, body, ...signed } as const;
    expect(await resolveWithResponse(engine, target, word)).toBe("resolved");
    expect(await resolveWithResponse(engine, target, word)).toBe("not-in-doubt");
    for (let retry = 0; retry < 2; retry += 1) {
      const response = await post();
      expect(response.status).toBe(201);
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(body);
      const header = (name: string) => response.headers.get(name);
      expect(header("idempotency-replayed")).toBe("true");
      expect(["content-type", "location", "x-receipt", "link"].map(header)).toEqual([
        "application/x-receipt",
        "/payments/7",
        "7",
        "</a>; rel=a, </b>; rel=b",
      ]);
    }
    expect((await post("another body")).status).toBe(422);
    expect(runs()).toBe(1);
  });

  it("is resolved as not executed: one retry executes", async () => {
    const { refused, engine, target, post, runs } = await serve(open);
    await refused();
    await engine.resolve(target, { outcome: "not-executed", ...signed });
    expect((await post("another body")).status).toBe(422);
    const again = await post();
    expect([again.status, await again.text()]).toEqual([200, "run 2"]);
    expect(again.headers.get("idempotency-attempt")).toBe("2");
    expect(await (await post()).text()).toBe("run 2");
    expect(runs()).toBe(2);
  });
});

const problem = "application/problem+json";

describe.each(stores)("a request that an operator calls failed on %s", (_name, open) => {
  it.each([
    [{}, 500],
    [{ status: 402 }, 402],
  ])("with %j is refused with %i and not to be retried (B-116)", async (given, status) => {
    const { refused, engine, target, post, runs } = await serve(open);
    await refused();
    await resolveWithResponse(engine, target, { outcome: "failed", ...given, ...signed });
    const response = await post();
    expect([response.status, response.headers.get("content-type")]).toEqual([status, problem]);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(response.headers.get("retry-after")).toBeNull();
    expect(response.headers.get("idempotency-replayed")).toBe("true");
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ code: "failed", status });
    expect(text).not.toMatch(/ann|bank|key-\d/);
    expect(runs()).toBe(1);
  });

  it("with a response of its own is answered with that", async () => {
    const { refused, engine, target, post } = await serve(open);
    await refused();
    const headers = { "content-type": "application/json" };
    const answer = { status: 503, headers, body: '{"error":"declined"}' };
    await resolveWithResponse(engine, target, { outcome: "failed", ...answer, ...signed });
    const response = await post();
    expect([response.status, await response.text()]).toEqual([503, answer.body]);
    expect(response.headers.get("x-should-retry")).toBe("false");
  });
});

describe("a request that is resolved without a response", () => {
  it.each([
    [{ outcome: "completed" }, 409, "result-omitted"],
    [{ outcome: "completed", value: { paid: 1 } }, 409, "result-omitted"],
    [{ outcome: "failed" }, 500, "failed"],
  ] as const)("as %j is answered clearly, %i %s", async (said, status, code) => {
    const { refused, engine, target, post, runs } = await serve(stores[0][1]);
    await refused();
    await engine.resolve(target, { ...said, ...signed });
    const response = await post();
    expect([response.status, response.headers.get("x-should-retry")]).toEqual([status, "false"]);
    expect(await response.json()).toMatchObject({ code });
    expect(runs()).toBe(1);
  });

  it("fails in Stripe's dialect, too", async () => {
    const { refused, engine, target, post } = await serve(stores[0][1], { compat: "stripe" });
    await refused();
    await engine.resolve(target, { outcome: "failed", ...signed });
    const response = await post();
    expect(response.status).toBe(500);
    expect(response.headers.get("stripe-should-retry")).toBe("false");
    expect(await response.json()).toMatchObject({ error: { type: "api_error", code: "failed" } });
  });
});

describe("a response of an operator", () => {
  it.each([
    [/status must be 200 to 599 for what completed; got undefined/, {}],
    [/status must be 200 to 599/, { status: 199 }],
    [/status must be 400 to 599 for what failed/, { outcome: "failed", status: 200 }],
    [/status 204 has no body/, { status: 204, body: "x" }],
    [/set-cookie is never replayed/, { status: 200, headers: { "Set-Cookie": "a=b" } }],
    [/retry-after is never replayed/, { status: 200, headers: [["retry-after", "1"]] }],
    [/transfer-encoding is never/, { status: 200, headers: { "transfer-encoding": "chunked" } }],
    [/header "a b" cannot be sent/, { status: 200, headers: { "a b": "c" } }],
    [/header "x" cannot be sent/, { status: 200, headers: { x: "a\r\nb: c" } }],
    [/was not executed has no result/, { status: 200, outcome: "not-executed" }],
  ] as const)("that could not be replayed is refused: %s", async (words, flaw) => {
    const engine = createEngine({ store: memoryStore() });
    const word = { outcome: "completed", ...signed, ...flaw } as ResponseWord;
    const refusal: unknown = await resolveWithResponse(engine, "id", word).catch(
      (error: unknown) => error,
    );
    expect(refusal).toBeInstanceOf(TypeError);
    expect(String(refusal)).toMatch(words);
  });
});
