/** The contract suite on every store, each on the real thing: a file, a redis-server. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import { systemRuntime } from "../../src/engine/runtime.ts";
import { digestOf, namesOf } from "../../src/engine/values/key.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import * as lua from "../../src/stores/redis/scripts.generated.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import { until } from "../support/poll.ts";
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

  it("answers a claim in one command, whatever it answers (S-6, B-98)", async () => {
    const { redis, store } = subject;
    const claim = { leaseMs: 100, retentionMs: 5000, onAbandoned: "takeover" } as const;
    const owned = { ...claim, operation: "o", owner: "a" as never, fingerprint: "f" as never };
    const completion = { owner: "a" as never, result: Uint8Array.of(1), retentionMs: 5000 };
    await store.claim("loaded" as never, owned);
    await store.complete("loaded" as never, completion);
    const monitor = await redis.monitor();
    const commands: string[] = [];
    monitor.on("monitor", (_time: string, [name = ""]: readonly string[], source: string) => {
      if (source !== "lua") commands.push(name.toLowerCase());
    });
    const claimed = await store.claim("counted" as never, owned);
    const refused = await store.claim("counted" as never, { ...owned, owner: "b" as never });
    await store.complete("counted" as never, completion);
    const completed = await store.claim("counted" as never, owned);
    await redis.ping();
    await until(() => commands.includes("ping"));
    monitor.disconnect();
    const kinds = [claimed, refused, completed].map((reply) => reply.kind);
    expect(kinds).toEqual(["claimed", "in-progress", "completed"]);
    expect(commands).toEqual(["evalsha", "evalsha", "evalsha", "evalsha", "ping"]);
  });

  it("adds at most 96 bytes to a result, and keeps a claim in 112", async () => {
    const { redis, store } = subject;
    const names = namesOf();
    const id = names.recordId("acme", "POST /payments", "k");
    const owner = systemRuntime.token() as never;
    const fingerprint = names.fingerprint(digestOf(["asked"]) as never);
    const times = { leaseMs: 30_000, retentionMs: 86_400_000 };
    const what = { operation: "POST /payments", onAbandoned: "takeover" } as const;
    await store.claim(id, { owner, fingerprint, ...what, ...times });
    expect(await redis.strlen(`t:${id}`)).toBeLessThanOrEqual(112);
    const result = new Uint8Array(411);
    await store.step(id, { owner, name: "done with it", result });
    await store.complete(id, { owner, result, retentionMs: 86_400_000 });
    expect(await redis.strlen(`t:${id}`)).toBeLessThanOrEqual(result.length + 96);
  });

  it("treats a record it cannot read as locked, never as free (B-97)", async () => {
    const { redis, store } = subject;
    const claim = { leaseMs: 100, retentionMs: 5000, onAbandoned: "takeover" } as const;
    const owned = { ...claim, operation: "o", owner: "a" as never, fingerprint: "f" as never };
    await store.claim("sound" as never, owned);
    const sound = await redis.getBuffer("t:sound");
    await redis.set("t:text", "not a record");
    await redis.lpush("t:list", "not a string");
    await redis.set("t:empty", "");
    await redis.set("t:torn", (sound ?? Buffer.alloc(0)).subarray(0, -1));
    const changes = {
      version: "r[1] = 2",
      state: "r[2] = 5",
      types: "r[9] = 'soon'",
      more: "r[#r + 1] = {}",
      less: "r[#r] = nil",
      lists: "r[#r + 1] = 'steps'; r[#r + 1] = false",
    };
    for (const [id, change] of Object.entries(changes)) {
      const read = "local r = cmsgpack.unpack(redis.call('GET', KEYS[1]))";
      const write = "redis.call('SET', KEYS[2], cmsgpack.pack(r))";
      await redis.eval(`${read}; ${change}; ${write}`, 2, "t:sound", `t:${id}`);
    }
    for (const id of ["text", "list", "empty", "torn", ...Object.keys(changes)]) {
      const failure: unknown = await store.claim(id as never, owned).catch((error) => error);
      expect({ id, failure }).toMatchObject({ id, failure: { code: "store-corrupt" } });
    }
  });
});
