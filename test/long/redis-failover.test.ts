/**
 * Failovers: what a promoted replica has forgotten without acknowledgement, and has not with it; by
 * hand with the link cut, and by Sentinels through each of their clients.
 */
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import type { RedisClient, RedisStoreOptions } from "../../src/stores/redis/redis-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { until } from "../support/poll.ts";
import { sentinelClients } from "../support/redis-clients.ts";
import { startRedisPair } from "../support/redis-pair.ts";
import type { RedisPair } from "../support/redis-pair.ts";
import { startRedisSentinels } from "../support/redis-sentinels.ts";
import type { RedisSentinels } from "../support/redis-sentinels.ts";
import { scriptedSubject } from "../support/subjects.ts";

const [owner, rival] = ["a", "b"] as [OwnerToken, OwnerToken];
const times = { leaseMs: 60_000, retentionMs: 60_000 };
/** A refusal: a turn of the event loop later, for a client may refuse at once. */
const nothing = () => new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)));
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

describe("a replica promoted while it was cut off", () => {
  let pair: RedisPair;
  beforeAll(async () => {
    pair = await startRedisPair();
  });
  afterAll(() => pair.stop());

  function storeOn(port: number, options: RedisStoreOptions = {}): Store {
    const redis = new Redis(port, "127.0.0.1");
    const store = redisStore(redis, options);
    closers.push(
      () => redis.disconnect(),
      () => store.close(),
    );
    return store;
  }

  /** One failover: whether an owner on the old master and a rival on the new one hold one key. */
  async function failover(round: string, options: RedisStoreOptions) {
    const id = `key ${round}` as RecordId;
    const [before, after] = [storeOn(pair.master.port, options), storeOn(pair.replica.port)];
    const work = `${id} committed` as RecordId;
    await until(() => before.claim(work, claimBy(owner, times)));
    pair.cut();
    const [first, committed] = await Promise.allSettled([
      before.claim(id, claimBy(owner, times)),
      before.commit(work, owner),
    ]);
    await pair.onReplica.replicaof("NO", "ONE");
    const second = await after.claim(id, claimBy(rival, times));
    const forgotten = (await after.get(work)) as { readonly committed?: boolean } | undefined;
    const granted = first.status === "fulfilled" && first.value.kind === "claimed";
    const doubled = granted && second.kind === "claimed";
    const uncommitted = committed.status === "fulfilled" && forgotten?.committed !== true;
    await pair.join();
    return { doubled, uncommitted };
  }

  const rounds = [1, 2, 3, 4, 5, 6, 7, 8];
  it("grants what the master had granted, 8 of 8 times, without acknowledgement", async () => {
    const verdicts = [];
    for (const round of rounds) verdicts.push(await failover(`plain ${round}`, {}));
    expect(verdicts).toEqual(rounds.map(() => ({ doubled: true, uncommitted: true })));
  });

  it("never does with it: the old master grants and commits nothing (S-10)", async () => {
    const acknowledge = { timeout: "200ms" };
    const verdicts = [];
    for (const round of rounds) verdicts.push(await failover(`sure ${round}`, { acknowledge }));
    expect(verdicts).toEqual(rounds.map(() => ({ doubled: false, uncommitted: false })));
  });
});

describe("behind three Sentinels", () => {
  let sentinels: RedisSentinels;
  beforeAll(async () => {
    sentinels = await startRedisSentinels();
  });
  afterAll(() => sentinels.stop());

  async function opened(open: (typeof sentinelClients)[number][1]): Promise<RedisClient> {
    const { client, close } = await open(sentinels.addresses);
    closers.push(close);
    return client;
  }

  /** node-redis 5 cannot duplicate its Sentinel client: it gets a second one. */
  async function acknowledging(
    [name, open]: (typeof sentinelClients)[number],
    timeout: string,
  ): Promise<RedisStoreOptions> {
    const own = name.endsWith("node-redis 5") ? { client: await opened(open) } : {};
    return { acknowledge: { timeout, ...own } };
  }

  it.each(sentinelClients)(
    "the contract holds through %s",
    { timeout: 60_000 },
    async (...entry) => {
      const client = await opened(entry[1]);
      for (const options of [{}, await acknowledging(entry, "2s")]) {
        const { store, clock } = scriptedSubject(client, options);
        closers.push(() => store.close());
        await store.check();
        const tests: (() => Promise<void>)[] = [];
        const subject = { store, clock };
        storeSuite({ it: (_, test) => tests.push(test), subject: () => subject, histories: 2 });
        for (const test of tests) await test();
        expect(tests.length).toBeGreaterThan(10);
      }
    },
  );

  it.each(sentinelClients)("waiters are woken through %s", async (name, open) => {
    const store = redisStore(await opened(open));
    closers.push(() => store.close());
    const id = `woken ${name}` as RecordId;
    await store.claim(id, claimBy(owner, times));
    let nudges = 0;
    const stop = await store.watch?.(id, () => (nudges += 1));
    await store.release(id, owner);
    await until(() => nudges > 0);
    stop?.();
    expect(nudges).toBe(1);
  });

  it("a dead master's acknowledged claims live on (S-10)", { timeout: 90_000 }, async () => {
    const stores = await Promise.all(
      sentinelClients.map(async (entry) => {
        const options = await acknowledging(entry, "300ms");
        const store = redisStore(await opened(entry[1]), options);
        closers.push(() => store.close());
        return [entry[0], store] as const;
      }),
    );
    const granted: (readonly [RecordId, Store])[] = [];
    const state = { dead: false };
    const claiming = stores.map(async ([name, store]) => {
      for (let index = 0; !state.dead; index += 1) {
        const id = `${name} ${index}` as RecordId;
        const reply = await store.claim(id, claimBy(owner, times)).catch(nothing);
        if (reply?.kind === "claimed") granted.push([id, store]);
      }
    });
    await until(() => stores.every(([, store]) => granted.some(([, by]) => by === store)));
    await until(() => granted.length >= 300, { withinMs: 20_000 });
    await sentinels.master.kill();
    state.dead = true;
    await Promise.all(claiming);
    const promoted = async () => (await sentinels.masterPort()) === sentinels.replica.port;
    await until(promoted, { withinMs: 20_000, what: "the failover" });
    for (const [id, store] of granted) {
      const record = await until(() => store.get(id), { withinMs: 20_000, what: id });
      expect(record).toMatchObject({ state: "in-progress", owner });
    }
    await sentinels.master.restart(); // the Sentinels make it a replica of the new master
    for (const [name, store] of stores) {
      const claim = () => store.claim(`${name} after` as RecordId, claimBy(owner, times));
      const reply = await until(claim, { withinMs: 40_000, what: `${name} to claim again` });
      expect(reply.kind).toBe("claimed");
    }
  });
});
