/** A server whose Redis is stopped, paused, or loses replies: nothing runs twice, nobody hangs. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { HttpOptions } from "../../src/http/policy.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import { until } from "../support/poll.ts";
import { startRedis } from "../support/redis-server.ts";
import { startProxy } from "../support/tcp-proxy.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A counting server behind a fault proxy; `during` runs inside the handler. */
async function serve(
  during: (faults: Faults) => unknown = () => undefined,
  options: Partial<HttpOptions<unknown>> = {},
) {
  const redis = await startRedis();
  const proxy = await startProxy(redis.port);
  const client = new Redis(proxy.port, "127.0.0.1", { maxRetriesPerRequest: 0 });
  client.on("error", () => undefined);
  const events: string[] = [];
  const store = redisStore(client);
  const engine = createEngine({
    store,
    lease: "5s",
    storeTimeout: "500ms",
    onEvent: (event) => void events.push(event.kind),
  });
  const faults = { redis, proxy };
  let runs = 0;
  const settings = { scope: "public", operation: "POST /r", ...options } as const;
  const guarded = idempotent(engine, settings, async (_, res) => {
    runs += 1;
    const receipt = `run ${runs}`;
    await during(faults);
    res.end(receipt);
  });
  const server = createServer((req, res) => void guarded(req, res)).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(
    () => redis.stop(),
    () => proxy.close(),
    () => client.disconnect(),
    () => engine.close(1000),
    () => server.close() && server.closeAllConnections(),
  );
  await client.ping();
  const { port } = server.address() as AddressInfo;
  const post = async (): Promise<Response> => {
    const headers = { "idempotency-key": "k" };
    return fetch(`http://127.0.0.1:${port}/r`, { method: "POST", headers });
  };
  return { ...faults, store, engine, events, post, runs: () => runs };
}
type Faults = {
  readonly redis: Awaited<ReturnType<typeof startRedis>>;
  readonly proxy: Awaited<ReturnType<typeof startProxy>>;
};

describe("a server whose Redis", () => {
  it("is stopped before the claim: 503 in bounded time, nothing runs (B-92)", async () => {
    const { redis, post, runs, events } = await serve();
    await redis.kill();
    const startedAt = performance.now();
    const response = await post();
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await response.json()).toMatchObject({ code: "store-unavailable" });
    expect(performance.now() - startedAt).toBeLessThan(2000);
    expect(runs()).toBe(0);
    expect(events).toEqual(["store-unavailable"]);
    await redis.restart();
    await until(async () => (await post()).status === 200 || undefined);
    expect(runs()).toBe(1);
  });

  it("is stopped on an open route: it runs, and is noted once Redis is back (B-94)", async () => {
    const { redis, post, runs, events, engine, store } = await serve(undefined, {
      onStoreError: "open",
    });
    await redis.kill();
    const response = await post();
    expect([response.status, await response.text()]).toEqual([200, "run 1"]);
    expect(response.headers.get("idempotency-status")).toBe("bypassed");
    expect(events).toEqual(["store-unavailable", "bypassed"]);
    const closed = engine.close(15_000);
    await redis.restart();
    await closed;
    const { notes } = await store.attention();
    expect(notes).toMatchObject([{ reason: "bypassed", operation: "POST /r" }]);
    expect(runs()).toBe(1);
  });

  it("is silent at the claim answers 503, and frees the ghost of that claim (B-96)", async () => {
    const { redis, post, runs } = await serve();
    redis.pause();
    expect((await post()).status).toBe(503);
    redis.resume();
    const startedAt = performance.now();
    await until(async () => (await post()).status === 200 || undefined);
    expect(performance.now() - startedAt).toBeLessThan(4000); // the lease of the ghost is 5 s
    expect(runs()).toBe(1);
  });

  it("is paused before the recording delivers the real answer and records it (B-95)", async () => {
    const { redis, post, runs, events } = await serve((faults) => faults.redis.pause());
    const first = await post();
    expect([first.status, await first.text()]).toEqual([200, "run 1"]);
    expect(events).toContain("complete-failed");
    redis.resume();
    const retry = await until(async () => {
      const response = await post();
      return response.status === 200 ? response : undefined;
    });
    expect(await retry.text()).toBe("run 1");
    expect(runs()).toBe(1);
  });

  it("loses the reply to the recording still records it once (S-14)", async () => {
    const { proxy, post, runs } = await serve((faults) => faults.proxy.cutReplies());
    const first = await post();
    expect([first.status, await first.text()]).toEqual([200, "run 1"]);
    proxy.heal();
    const retry = await until(async () => {
      const response = await post();
      return response.status === 200 ? response : undefined;
    });
    expect(await retry.text()).toBe("run 1");
    expect(runs()).toBe(1);
  });

  it("loses the reply to the claim lets the owner recognise itself (L3)", async () => {
    const { proxy, post, runs } = await serve();
    proxy.cutReplies();
    const answer = post();
    await until(() => proxy.connections === 0 || undefined, { everyMs: 1 });
    proxy.heal();
    const response = await answer;
    expect([response.status, await response.text()]).toEqual([200, "run 1"]);
    expect(runs()).toBe(1);
  });
});
