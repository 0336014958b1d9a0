/**
 * The contract suite on every store, each on the real thing: a file, a redis-server, two clients.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import type { RedisClient } from "../../src/stores/redis/redis-store.ts";
import * as lua from "../../src/stores/redis/scripts.generated.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisProcess } from "../support/redis-server.ts";
import { redisSubject, serverTime, virtualClock } from "../support/subjects.ts";

describe("the memory store", () => {
  const clock = virtualClock();
  const store = memoryStore({ now: clock.nowMs });
  storeSuite({ it, subject: () => ({ store, clock }), histories: 300 });

  it("refuses new keys at its limit, and takes them again after a sweep (S-11)", async () => {
    const small = memoryStore({ maxRecords: 1, now: clock.nowMs });
    const claim = {
      leaseMs: 10,
      retentionMs: 10,
      onAbandoned: "takeover",
      operation: "o",
    } as const;
    const owned = { ...claim, owner: "a" as never, fingerprint: "f" as never };
    await small.claim("1" as never, owned);
    await expect(small.claim("2" as never, owned)).rejects.toMatchObject({ code: "store-full" });
    clock.advance(10);
    expect(await small.claim("2" as never, owned)).toMatchObject({ kind: "claimed" });
  });
});

describe("the SQLite store", () => {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-"));
  const clock = virtualClock();
  const store = sqliteStore(join(folder, "records.db"), { now: clock.nowMs });
  afterAll(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  storeSuite({ it, subject: () => ({ store, clock }), histories: 30 });
});

describe("the Redis store", () => {
  let subject: Awaited<ReturnType<typeof redisSubject>>;
  beforeAll(async () => {
    subject = await redisSubject();
  });
  afterAll(() => subject.close());
  storeSuite({ it, subject: () => subject, histories: 60 });

  it("reads the clock of the server in one place", () => {
    expect(lua.record.split(serverTime)).toHaveLength(2);
  });

  it("gives records an expiry and finds its scripts after a flush (B-99, S-11)", async () => {
    await subject.redis.script("FLUSH");
    const claim = {
      leaseMs: 100,
      retentionMs: 5000,
      onAbandoned: "takeover",
      operation: "o",
    } as const;
    const owned = { ...claim, owner: "a" as never, fingerprint: "f" as never };
    expect(await subject.store.claim("flushed" as never, owned)).toMatchObject({ kind: "claimed" });
    expect(await subject.redis.pttl("t:flushed")).toBeGreaterThan(0);
  });

  it("treats a record it cannot read as locked, never as free (B-97)", async () => {
    const { redis, store } = subject;
    const claim = { leaseMs: 100, retentionMs: 5000, onAbandoned: "takeover" } as const;
    const owned = { ...claim, operation: "o", owner: "a" as never, fingerprint: "f" as never };
    await store.claim("sound" as never, owned);
    const sound = await redis.getBuffer("t:sound");
    await redis.set("t:text", "not a record");
    await redis.lpush("t:list", "not a string");
    await redis.set("t:version", Buffer.from(sound ?? []).fill(9, 3, 4));
    await redis.eval(
      "local r = cmsgpack.unpack(redis.call('GET', KEYS[1])); r[9] = 'soon'; " +
        "redis.call('SET', KEYS[2], cmsgpack.pack(r))",
      2,
      "t:sound",
      "t:types",
    );
    for (const id of ["text", "list", "version", "types"]) {
      const failure: unknown = await store.claim(id as never, owned).catch((error) => error);
      expect(failure).toMatchObject({ code: "store-corrupt" });
    }
  });
});

describe("clients of the Redis store", () => {
  let server: RedisProcess;
  const closers: (() => unknown)[] = [];
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(async () => {
    for (const close of closers) close();
    await server.stop();
  });

  it("passes the self-test through ioredis and node-redis, old and new (S-9)", async () => {
    const six = new Redis(server.port, "127.0.0.1");
    const five = new Redis5(server.port, "127.0.0.1");
    const node6 = await createClient({ url: server.url }).connect();
    const node5 = await createClient5({ url: server.url }).connect();
    closers.push(
      () => six.disconnect(),
      () => five.disconnect(),
      () => node6.destroy(),
      () => node5.destroy(),
    );
    for (const client of [six, five, node6, node5] as unknown as RedisClient[]) {
      await expect(redisStore(client).check()).resolves.toBeUndefined();
    }
  });

  it("refuses a server that may evict, and a client of another shape (S-9)", async () => {
    const redis = new Redis(server.port, "127.0.0.1");
    closers.push(() => redis.disconnect());
    await redis.config("SET", "maxmemory-policy", "allkeys-lru");
    await expect(redisStore(redis).check()).rejects.toMatchObject({ code: "store-unsuitable" });
    await redisStore(redis, { allowVolatile: true }).check();
    await redis.config("SET", "maxmemory-policy", "noeviction");
    expect(() => redisStore({} as never)).toThrow(/got an object of Object/);
    const cluster = { sendCommand: (_key: string, _readonly: boolean, _args: string[]) => 1 };
    expect(() => redisStore(cluster as never)).toThrow(TypeError);
  });

  it("warns where an ACL forbids looking, and never repeats arguments in errors", async () => {
    const admin = new Redis(server.port, "127.0.0.1");
    await admin.call(
      "ACL",
      "SETUSER",
      "app",
      "on",
      ">pw",
      "~latchkey:*",
      "+@all",
      "-info",
      "-eval",
    );
    const redis = new Redis(server.port, "127.0.0.1", { username: "app", password: "pw" });
    closers.push(
      () => admin.disconnect(),
      () => redis.disconnect(),
    );
    const warned = once(process, "warning") as Promise<[Error]>;
    await admin.script("FLUSH");
    await redisStore(admin, { prefix: "latchkey:" }).check(); // loads the scripts
    await redisStore(redis).check();
    expect((await warned)[0].message).toContain("unverified");
    await admin.script("FLUSH");
    const secret = redisStore(redis).renew("id" as never, "secret" as never, 1);
    const error = (await secret.catch((caught: unknown) => caught)) as Error;
    expect(`${error.message} ${String(error.cause)}`).not.toContain("secret");
  });

  it("lets owners finish in a full Redis, and refuses new claims", async () => {
    const redis = new Redis(server.port, "127.0.0.1");
    closers.push(() => redis.disconnect());
    const store = redisStore(redis);
    const claim = { leaseMs: 10_000, retentionMs: 5000, onAbandoned: "takeover" } as const;
    const owned = { ...claim, operation: "o", owner: "a" as never, fingerprint: "f" as never };
    await store.claim("early" as never, owned);
    await redis.config("SET", "maxmemory", "1");
    await expect(store.claim("late" as never, owned)).rejects.toMatchObject({ code: "store-full" });
    const completion = { owner: "a" as never, result: new Uint8Array(9), retentionMs: 5000 };
    expect(await store.complete("early" as never, completion)).toEqual({ kind: "recorded" });
    await redis.config("SET", "maxmemory", "0");
  });
});
