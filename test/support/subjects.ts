/** Stores under test with a clock that tests move: memory, SQLite, and a real redis-server. */
import { Redis } from "ioredis";
import type { StoreUnderTest } from "../../src/conformance/store-suite.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { createRedisStore } from "../../src/stores/redis/redis-store.ts";
import * as lua from "../../src/stores/redis/scripts.generated.ts";
import { composeScripts } from "../../src/stores/redis/scripts.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import { startRedis } from "./redis-server.ts";

export interface Subject extends StoreUnderTest {
  readonly close: () => Promise<void>;
}
export interface VirtualClock {
  readonly nowMs: () => number;
  readonly advance: (ms: number) => void;
}

export function virtualClock(): VirtualClock {
  let nowMs = 1_700_000_000_000;
  return { nowMs: () => nowMs, advance: (ms) => void (nowMs += ms) };
}

export async function memorySubject(): Promise<Subject> {
  const clock = virtualClock();
  const store = memoryStore({ now: clock.nowMs });
  return { store, clock, close: () => store.close() };
}

export async function sqliteSubject(path = ":memory:"): Promise<Subject> {
  const clock = virtualClock();
  const store = sqliteStore(path, { now: clock.nowMs });
  return { store, clock, close: () => store.close() };
}

/** The one place where the scripts read the server's clock; tests read two keys instead. */
export const serverTime = "redis.call('TIME')";
const virtualTime = "{ redis.call('GET', 'clock:s'), redis.call('GET', 'clock:us') }";

/** A redis-server whose scripts read the virtual clock. `redis` is for looking behind. */
export async function redisSubject(): Promise<Subject & { readonly redis: Redis }> {
  const server = await startRedis();
  const redis = new Redis(server.port, "127.0.0.1");
  const clock = virtualClock();
  const advance = async (ms: number): Promise<void> => {
    clock.advance(ms);
    const nowMs = clock.nowMs();
    await redis.mset("clock:s", Math.floor(nowMs / 1000), "clock:us", (nowMs % 1000) * 1000);
  };
  await advance(0);
  // Redis itself forgets by the real clock: not before the virtual one says so.
  const patient = lua.record.replace("nowMs)", "nowMs) + 600000").replace(serverTime, virtualTime);
  const scripts = composeScripts(patient);
  const store = createRedisStore(redis, { prefix: "t:" }, scripts);
  const close = async (): Promise<void> => {
    redis.disconnect();
    await server.stop();
  };
  return { store, clock: { nowMs: clock.nowMs, advance }, close, redis };
}
