/** Acknowledged writes on a master and its replica: what counts, and what does not (S-10). */
import { Redis } from "ioredis";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import type { RedisClient, RedisStoreOptions } from "../../src/stores/redis/redis-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { until } from "../support/poll.ts";
import { singleClients } from "../support/redis-clients.ts";
import { startRedisPair } from "../support/redis-pair.ts";
import type { RedisPair } from "../support/redis-pair.ts";
import { startProxy } from "../support/tcp-proxy.ts";
import { scriptedSubject } from "../support/subjects.ts";

type Acknowledge = NonNullable<RedisStoreOptions["acknowledge"]>;

type FleetingClient = RedisClient & {
  readonly isOpen: boolean;
  on(event: "error", listener: () => void): unknown;
  connect(): Promise<unknown>;
  destroy(): void;
};

const owner = "a" as OwnerToken;
const result = Uint8Array.of(1);
const retentionMs = 60_000;
const lasting = claimBy(owner, { leaseMs: 60_000, retentionMs });
const unavailable = { code: "store-unavailable" };
const closers: (() => unknown)[] = [];
let pair: RedisPair;
beforeAll(async () => {
  pair = await startRedisPair();
});
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
  await pair.stop();
});

let count = 0;
let id: RecordId;
beforeEach(() => {
  id = `acknowledged-${(count += 1)}` as RecordId;
});

function connect(): Redis {
  const redis = new Redis(pair.master.port, "127.0.0.1");
  closers.push(() => redis.disconnect());
  return redis;
}

function storeOf(acknowledge: Acknowledge, client: RedisClient = connect()) {
  const store = redisStore(client, { acknowledge });
  closers.push(() => store.close());
  return store;
}

describe.each(singleClients)("acknowledged writes through %s", (name, open) => {
  let client: RedisClient;
  let acknowledge: Acknowledge;
  beforeAll(async () => {
    const where = { host: "127.0.0.1", port: pair.master.port };
    const first = await open(where);
    closers.push(first.close);
    client = first.client;
    acknowledge = { timeout: "2s" };
    if (name !== "GLIDE") return;
    const own = await open(where);
    closers.push(own.close);
    acknowledge = { ...acknowledge, client: own.client };
  });

  it("keep the contract, and the check passes", async () => {
    const { store, clock } = scriptedSubject(client, { acknowledge });
    closers.push(() => store.close());
    await store.check();
    const tests: (() => Promise<void>)[] = [];
    const subject = { store, clock };
    storeSuite({ it: (_, test) => tests.push(test), subject: () => subject, histories: 2 });
    for (const test of tests) await test();
    expect(tests.length).toBeGreaterThan(10);
  });

  it("refuse a claim while the replica is cut off, and grant it afterwards", async () => {
    const patient = storeOf(acknowledge, client);
    const store = storeOf({ ...acknowledge, timeout: "100ms" }, client);
    await patient.claim(id, lasting);
    pair.cut();
    const fresh = `${id}-fresh` as RecordId;
    const complete = () => store.complete(id, { owner, result, retentionMs });
    const refused = [store.claim(fresh, lasting), store.commit(id, owner), complete()];
    for (const answer of await Promise.allSettled(refused)) {
      expect(answer).toMatchObject({ status: "rejected", reason: unavailable });
    }
    // Repeated on a new connection it is written again, for it to be counted there.
    const another = storeOf({ ...acknowledge, timeout: "100ms" }, client);
    const again = another.complete(id, { owner, result, retentionMs });
    await expect(again).rejects.toMatchObject(unavailable);
    await pair.join();
    expect(await patient.claim(fresh, lasting)).toMatchObject({ kind: "claimed", attempt: 1 });
    const completed = await patient.complete(id, { owner, result, retentionMs });
    expect(completed).toEqual({ kind: "recorded" });
    expect(await pair.onReplica.exists(`latchkey:${id}`)).toBe(1);
  });
});

describe("acknowledged writes", () => {
  it("share one wait where they come together", async () => {
    const store = storeOf({});
    await store.claim(id, lasting);
    const before = Number(/cmdstat_wait:calls=(\d+)/.exec(await commandStats())?.[1]);
    const ids = Array.from({ length: 100 }, (_, index) => `${id}-${index}` as RecordId);
    const replies = await Promise.all(ids.map((one) => store.claim(one, lasting)));
    expect(replies.every(({ kind }) => kind === "claimed")).toBe(true);
    const waits = Number(/cmdstat_wait:calls=(\d+)/.exec(await commandStats())?.[1]) - before;
    expect(waits).toBeLessThanOrEqual(3);
  });

  const commandStats = () => pair.onMaster.info("commandstats");

  it("do not count where the connection was replaced meanwhile", async () => {
    const store = storeOf({ timeout: "400ms" });
    await store.claim(id, lasting);
    pair.cut();
    const refused = store.commit(id, owner).catch((error: unknown) => error);
    const blocked = async () => String(await pair.onMaster.call("CLIENT", "LIST"));
    const waiting = await until(async () => /^id=(\d+) .* cmd=wait /m.exec(await blocked()));
    // ioredis connects again and repeats what had no reply yet: the WAIT, and not the write.
    await pair.onMaster.call("CLIENT", "KILL", "ID", String(waiting[1]));
    expect(await refused).toMatchObject(unavailable);
    await pair.join();
    expect(await store.commit(id, owner)).toEqual({ kind: "committed" });
  });

  /** Clients that never connect again, and so do their copies. */
  const fleeting: Readonly<Record<string, (port: number) => Promise<RedisClient>>> = {
    ioredis: async (port) => {
      const redis = new Redis(port, "127.0.0.1", { retryStrategy: () => null });
      redis.on("error", () => undefined);
      closers.push(() => redis.disconnect());
      return redis;
    },
    "node-redis 6": async (port) => fromNodeRedis(createClient({ socket: fleetingSocket(port) })),
    "node-redis 5": async (port) => fromNodeRedis(createClient5({ socket: fleetingSocket(port) })),
  };
  const fleetingSocket = (port: number) =>
    ({ host: "127.0.0.1", port, reconnectStrategy: false }) as const;
  async function fromNodeRedis(client: FleetingClient): Promise<RedisClient> {
    client.on("error", () => undefined);
    closers.push(() => client.isOpen && client.destroy());
    await client.connect();
    return client;
  }
  it.each(Object.entries(fleeting))(
    "get another connection for a lost one: %s",
    async (_, open) => {
      const proxy = await startProxy(pair.master.port);
      closers.push(() => proxy.close());
      const store = storeOf({ timeout: "50ms" }, await open(proxy.port));
      await until(() => store.claim(id, lasting));
      proxy.blackhole();
      await expect(store.commit(id, owner)).rejects.toMatchObject(unavailable); // silent
      proxy.heal();
      expect(await until(() => store.commit(id, owner))).toEqual({ kind: "committed" });
      proxy.reset(); // it gives up, and so does the next one
      await expect(store.commit(id, owner)).rejects.toMatchObject(unavailable);
      await expect(store.commit(id, owner)).rejects.toMatchObject(unavailable);
      proxy.heal();
      expect(await until(() => store.commit(id, owner))).toEqual({ kind: "committed" });
    },
  );

  it("are only those that were asked for; what changes nothing waits for nobody", async () => {
    const store = storeOf({ commands: ["commit"], timeout: "100ms" });
    const done = `${id}-done` as RecordId;
    await store.claim(done, lasting);
    await store.complete(done, { owner, result, retentionMs });
    pair.cut();
    expect(await store.claim(id, lasting)).toMatchObject({ kind: "claimed" });
    await expect(store.commit(id, owner)).rejects.toMatchObject(unavailable);
    const all = storeOf({ timeout: "100ms" });
    expect(await all.claim(done, { ...lasting, owner: "b" as OwnerToken })).toMatchObject({
      kind: "completed",
    });
    expect(await all.commit(done, owner)).toEqual({ kind: "lease-lost" });
    await pair.join();
  });

  it("let an engine run nothing on a claim that was not, and give the key back", async () => {
    const engine = createEngine({ store: storeOf({ timeout: "50ms" }), storeTimeout: "300ms" });
    const request = { operation: "charge", key: String(id) };
    pair.cut();
    let runs = 0;
    const refused = engine.run(request, () => (runs += 1));
    await expect(refused).rejects.toMatchObject(unavailable);
    expect(runs).toBe(0);
    await pair.join();
    await engine.close(); // the ghost of the claim is released in the background
    expect(await engine.run(request, () => (runs += 1))).toBe(1);
  });

  it("find their scripts after a flush (B-99)", async () => {
    const store = storeOf({});
    await pair.onMaster.script("FLUSH");
    expect(await store.claim(id, lasting)).toMatchObject({ kind: "claimed" });
  });

  it("end their connection with the store", async () => {
    const clients = async () => {
      const list = String(await pair.onMaster.call("CLIENT", "LIST", "TYPE", "NORMAL"));
      return list.trim().split("\n").length;
    };
    const redis = connect();
    await redis.ping();
    const before = await clients();
    const store = redisStore(redis, { acknowledge: {} });
    await store.claim(id, lasting);
    expect(await clients()).toBe(before + 1);
    await store.close();
    await until(async () => (await clients()) <= before);
    await expect(store.commit(id, owner)).rejects.toMatchObject(unavailable);
    expect(await clients()).toBe(before);
  });

  it("are refused where they cannot be had", async () => {
    const wanting = redisStore(connect(), { acknowledge: { replicas: 2 } });
    await expect(wanting.check()).rejects.toThrow(/want 2 replicas .* has 1/);
    expect(() => storeOf({ replicas: 0 })).toThrow(/must be a whole number from 1; got 0/);
    expect(() => storeOf({ commands: ["comit" as "commit"] })).toThrow(/got comit/);
    expect(() => storeOf({ timeout: "soon" })).toThrow(/acknowledge.timeout must be a duration/);
    const wrapped = { callBuffer: async () => "OK" };
    expect(() => storeOf({}, wrapped)).toThrow(/needs a client of its own/);
    const pool = createClient({ url: pair.master.url });
    expect(() => storeOf({}, pool)).not.toThrow();
  });
});

describe("writes acknowledged by the disk", () => {
  it("wait for the append-only file where the server can", async () => {
    const [, major, minor] =
      /redis_version:(\d+)\.(\d+)/.exec(await pair.onMaster.info("server")) ?? [];
    const isOld = Number(major) * 100 + Number(minor) < 702;
    await pair.onMaster.config("SET", "appendfsync", "always");
    const store = storeOf({ disk: true });
    const verdict = await store.check().then(() => "fit", String);
    expect(verdict).toMatch(isOld ? /acknowledge.disk needs Redis or Valkey 7.2/ : /^fit$/);
    const outcome = async (from: Store, one: RecordId): Promise<string> =>
      from.claim(one, lasting).then(
        ({ kind }) => kind,
        ({ code }: { code: string }) => code,
      );
    expect(await outcome(store, id)).toBe(isOld ? "store-unavailable" : "claimed");
    await pair.onMaster.config("SET", "appendfsync", "no");
    const short = storeOf({ disk: true, timeout: "50ms" });
    expect(await outcome(short, `${id}-b` as RecordId)).toBe("store-unavailable");
  });
});
