/** Servers whose clocks differ by minutes, on one Redis: only the store's clock counts (B-91). */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { systemRuntime } from "../../src/engine/runtime.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisProcess } from "../support/redis-server.ts";

let server: RedisProcess;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.port, "127.0.0.1");
});
afterEach(() => vi.useRealTimers());
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

const fiveMinutesMs = 300_000;

/** An engine of a server whose clocks, the calendar's and the monotonic one, are off. */
function engineOff(byMs: number): (key: string, work: () => Promise<string>) => Promise<string> {
  const runtime = { ...systemRuntime, nowMs: () => performance.now() + byMs };
  const engine: Engine = createEngine({ store: redisStore(redis), lease: "2s", runtime });
  return (key, work) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + byMs });
    const answer = engine.run({ operation: "charge", key }, work);
    vi.useRealTimers();
    return answer;
  };
}

it.each([
  ["ahead", fiveMinutesMs],
  ["behind", -fiveMinutesMs],
])("a second server five minutes %s neither takes over nor runs again (B-91)", async (name, ms) => {
  const [first, second] = [engineOff(0), engineOff(ms)];
  const gate = Promise.withResolvers<string>();
  const running = first(name, () => gate.promise);
  await expect(second(name, async () => "again")).rejects.toMatchObject({ code: "in-progress" });
  gate.resolve("once");
  expect(await running).toBe("once");
  expect(await second(name, async () => "again")).toBe("once");
});
