/** Stores under test with a clock that tests move: memory, SQLite, and a real redis-server. */
import { Redis } from "ioredis";
import type { StoreUnderTest } from "../../src/conformance/store-suite.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { createRedisStore } from "../../src/stores/redis/redis-store.ts";
import type { RedisClient, RedisStoreOptions } from "../../src/stores/redis/redis-store.ts";
import * as lua from "../../src/stores/redis/scripts.generated.ts";
import { composeScripts } from "../../src/stores/redis/scripts.ts";
import type { ScriptName } from "../../src/stores/redis/scripts.ts";
import type { Store } from "../../src/stores/store.ts";
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
// Redis itself forgets by the real clock: not before the virtual one says so.
const patientPrelude = lua.record.replace("nowMs)", "nowMs) + 600000");
const virtualTime = "{ redis.call('GET', 'clock:s'), redis.call('GET', 'clock:us') }";

/**
 * A store over any client of Redis, its virtual clock written into the scripts: no node of a
 * cluster has to keep one. Each instant is a script of its own, so NOSCRIPT is met all the time.
 */
export function scriptedSubject(
  client: RedisClient,
  options: RedisStoreOptions = {},
): StoreUnderTest & { readonly store: Store } {
  const clock = virtualClock();
  const now = () => `{ ${Math.floor(clock.nowMs() / 1000)}, ${(clock.nowMs() % 1000) * 1000} }`;
  const scripts = new Proxy(composeScripts(), {
    get: (_, name: ScriptName) => composeScripts(patientPrelude.replace(serverTime, now()))[name],
  });
  const store = createRedisStore(client, { prefix: "t:", ...options }, scripts);
  return { store, clock };
}

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
  const scripts = composeScripts(patientPrelude.replace(serverTime, virtualTime));
  const store = createRedisStore(redis, { prefix: "t:" }, scripts);
  const close = async (): Promise<void> => {
    redis.disconnect();
    await server.stop();
  };
  return { store, clock: { nowMs: clock.nowMs, advance }, close, redis };
}
