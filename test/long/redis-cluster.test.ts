/**
 * The Redis store on a Cluster of six processes: the contract through every cluster client, while
 * slots move, and over the death of a master.
 */
import { GlideClusterClient } from "@valkey/valkey-glide";
import { Cluster } from "ioredis";
import { createCluster } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import type { StoreUnderTest } from "../../src/conformance/store-suite.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import type { RedisClient, RedisStoreOptions } from "../../src/stores/redis/redis-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { until } from "../support/poll.ts";
import { documentedPermissions } from "../support/redis-acl.ts";
import { clusterClients } from "../support/redis-clients.ts";
import type { OpenClient } from "../support/redis-clients.ts";
import { startRedisCluster } from "../support/redis-cluster.ts";
import type { RedisCluster } from "../support/redis-cluster.ts";
import { scriptedSubject } from "../support/subjects.ts";

type Acknowledge = NonNullable<RedisStoreOptions["acknowledge"]>;

const owner = "a" as OwnerToken;
const rival = "b" as OwnerToken;
const result = Uint8Array.of(1);
const times = { leaseMs: 60_000, retentionMs: 60_000 };
/** A refusal: a turn of the event loop later, for a client may refuse at once. */
const nothing = () => new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)));
const closers: (() => unknown)[] = [];
let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startRedisCluster();
});
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
  await cluster.stop();
});

async function opened(open: (typeof clusterClients)[number][1]): Promise<RedisClient> {
  const { client, close } = await open(cluster.roots);
  closers.push(close);
  return client;
}

/** GLIDE cannot be copied: it gets a second one. */
async function acknowledging(
  [name, open]: (typeof clusterClients)[number],
  more: Acknowledge = {},
): Promise<Acknowledge> {
  return name.startsWith("Glide") ? { ...more, client: await opened(open) } : more;
}

function opens(client: RedisClient, options: RedisStoreOptions = {}): Store {
  const store = redisStore(client, options);
  closers.push(() => store.close());
  return store;
}

describe.each(clusterClients)("the contract through %s", (_name, open) => {
  let client: OpenClient;
  let subject: StoreUnderTest;
  beforeAll(async () => {
    client = await open(cluster.roots);
    subject = scriptedSubject(client.client);
  });
  afterAll(() => client.close());
  storeSuite({ it, subject: () => subject, histories: 10 });

  it("passes the self-test (S-9)", async () => {
    await expect(redisStore(client.client).check()).resolves.toBeUndefined();
  });
});

describe.each(clusterClients)("acknowledged writes through %s", (...entry) => {
  it("keep the contract (S-10)", { timeout: 60_000 }, async () => {
    const acknowledge = await acknowledging(entry, { timeout: "2s" });
    const { store, clock } = scriptedSubject(await opened(entry[1]), { acknowledge });
    closers.push(() => store.close());
    await store.check();
    const tests: (() => Promise<void>)[] = [];
    storeSuite({
      it: (_, test) => tests.push(test),
      subject: () => ({ store, clock }),
      histories: 2,
    });
    for (const test of tests) await test();
    expect(tests.length).toBeGreaterThan(10);
  });
});

const watching = clusterClients.filter(([name]) => !name.startsWith("Glide"));
describe.each(watching)("watching through %s", (name, open) => {
  it("nudges whatever the slot, before and after it has moved", async () => {
    const store = opens(await opened(open));
    const ids = Array.from({ length: 12 }, (_, index) => `watch ${name} ${index}` as RecordId);
    const nudged = new Set<RecordId>();
    await Promise.all(ids.map((id) => store.claim(id, claimBy(owner, times))));
    const watch = async (id: RecordId) => store.watch?.(id, () => nudged.add(id));
    const stops = await Promise.all(ids.map(watch));
    await Promise.all(ids.map((id) => store.release(id, owner)));
    await until(() => nudged.size === ids.length);
    for (const stop of stops) stop?.();
    const [moved] = ids as [RecordId];
    await store.claim(moved, claimBy(rival, times));
    await moveAway(`latchkey:${moved}`);
    nudged.clear();
    const stop = await until(() => watch(moved));
    await store.release(moved, rival);
    await until(() => nudged.has(moved));
    stop();
    expect(nudged.size).toBe(1);
  });
});

async function moveAway(key: string, during?: () => Promise<unknown>): Promise<void> {
  const [masters, from] = [await cluster.masters(), await cluster.masterOf(key)];
  const to = masters.find((member) => member !== from);
  if (to === undefined) throw new Error("The cluster has but one master.");
  await cluster.moveSlot(await cluster.slotOf(key), to, during);
}

describe.each(clusterClients)("while slots move, %s", (...entry) => {
  it("grants each key once and loses none", { timeout: 60_000 }, async () => {
    const store = opens(await opened(entry[1]));
    const other = opens(await opened(entry[1]));
    const tag = `{${entry[0]}}`; // one slot for all keys, so that each of them moves
    const state = { moving: true };
    const moves = (async () => {
      for (let move = 0; move < 6; move += 1) await moveAway(`latchkey:${tag}`);
      state.moving = false;
    })();
    const granted = new Map<RecordId, OwnerToken>();
    for (let round = 0; state.moving || round < 20; round += 1) {
      const ids = Array.from({ length: 8 }, (_, index) => `${tag} ${round} ${index}` as RecordId);
      await Promise.all(ids.map((id) => race(id, [store, other], granted)));
    }
    await moves;
    const sure = opens(await opened(entry[1]), { acknowledge: await acknowledging(entry) });
    const after = `${tag} acknowledged` as RecordId;
    await sure.claim(after, claimBy(owner, times));
    await moveAway(`latchkey:${tag}`); // where its lane does not lead any more
    const committed = await until(() => sure.commit(after, owner), { withinMs: 10_000 });
    expect(committed).toEqual({ kind: "committed" });
    for (const [id, winner] of granted) {
      expect(await store.claim(id, claimBy(winner, times))).toMatchObject({ attempt: 1 });
    }
    expect(granted.size).toBeGreaterThanOrEqual(160);
  });
});

/** Two owners claim one key at once, as often as it takes: exactly one of them gets it. */
async function race(
  id: RecordId,
  stores: readonly [Store, Store],
  granted: Map<RecordId, OwnerToken>,
): Promise<void> {
  const claims = [owner, rival].map(async (name, index) => {
    const store = stores[index] as Store;
    const reply = await until(() => store.claim(id, claimBy(name, times)), { withinMs: 10_000 });
    if (reply.kind === "claimed") granted.set(id, name);
    return reply.kind;
  });
  expect((await Promise.all(claims)).toSorted()).toEqual(["claimed", "in-progress"]);
}

describe("an ACL user of a Cluster", () => {
  const documented = documentedPermissions();
  const clustered = [...documented].find(([purpose]) => purpose.includes("Cluster"))?.[1] ?? [];
  const others = [...documented.values()].flat().filter((one) => !clustered.includes(one));

  let users = 0;
  /** The clients that cannot work with these permissions, among those that say so. */
  async function failing(granted: readonly string[]): Promise<readonly string[]> {
    const username = `user-${(users += 1)}`;
    const fresh = ["reset", "on", ">pw", "resetchannels", ...granted];
    for (const { admin } of cluster.members) await admin.call("ACL", "SETUSER", username, ...fresh);
    const login = { username, password: "pw" };
    const roots = [...cluster.roots];
    const opens: Record<string, () => Promise<OpenClient>> = {
      ioredis: async () => {
        const redisOptions = { ...login, maxRetriesPerRequest: 0 };
        const client = new Cluster(roots, { redisOptions, clusterRetryStrategy: () => null });
        client.on("error", () => undefined);
        return { client, close: () => client.disconnect() };
      },
      "node-redis": async () => {
        const rootNodes = roots.map((socket) => ({ socket }));
        const client = createCluster({ rootNodes, defaults: login });
        client.on("error", () => undefined);
        await client.connect();
        return { client, close: () => client.destroy() };
      },
      GLIDE: async () => {
        const credentials = login;
        const client = await GlideClusterClient.createClient({ addresses: roots, credentials });
        return { client, close: () => client.close() };
      },
    };
    // Nobody can handle what ioredis is told of a refused ASKING: an unhandled rejection.
    if (!granted.includes("+asking")) delete opens["ioredis"];
    const failed: string[] = [];
    for (const [name, open] of Object.entries(opens)) {
      try {
        const { client, close } = await open();
        closers.push(close);
        const store = redisStore(client);
        await store.check();
        await store.list();
        const key = `{${username} ${name}}` as RecordId;
        await store.claim(key, claimBy(owner, times));
        const claims: Promise<unknown>[] = [];
        await moveAway(`latchkey:${key}`, async () => {
          claims.push(store.claim(`${key} new` as RecordId, claimBy(owner, times)));
          await Promise.allSettled(claims);
        });
        await Promise.all(claims);
        await until(() => store.release(key, owner), { withinMs: 3000 });
        close();
      } catch (error) {
        failed.push(`${name}: ${String((error as Error).cause ?? error)}`);
      }
    }
    return failed;
  }

  it("works with the documented permissions", async () => {
    expect(clustered.length).toBeGreaterThan(0);
    expect(await failing([...others, ...clustered])).toEqual([]);
  });

  it.each(clustered)("needs, in one client or another: %s", async (permission) => {
    const rest = clustered.filter((one) => one !== permission);
    expect(await failing([...others, ...rest])).not.toEqual([]);
  });
});

describe("over the death of a master", () => {
  it("no acknowledged claim is lost, and claims go on (S-10)", { timeout: 90_000 }, async () => {
    const victim = await cluster.masterOf("latchkey:{victim}");
    const entries = await Promise.all(
      clusterClients.map(async (entry) => {
        const acknowledge = await acknowledging(entry, { timeout: "300ms" });
        return [entry[0], opens(await opened(entry[1]), { acknowledge })] as const;
      }),
    );
    const granted: [RecordId, Store][] = [];
    const state = { dead: false };
    const claiming = entries.map(async ([name, store]) => {
      for (let index = 0; !state.dead; index += 1) {
        const id = `{victim} ${name} ${index}` as RecordId;
        const reply = await store.claim(id, claimBy(owner, times)).catch(nothing);
        if (reply?.kind === "claimed") granted.push([id, store]);
      }
    });
    await until(() => granted.length >= 300, { withinMs: 20_000 });
    await victim.kill();
    state.dead = true;
    await Promise.all(claiming);
    const successor = await until(
      async () => {
        const now = await cluster.masterOf("latchkey:{victim}");
        return now === victim ? undefined : now;
      },
      { withinMs: 20_000, what: "the replica to be promoted" },
    );
    await victim.restart(); // it follows its successor: writes can be acknowledged again
    for (const [name, store] of entries) {
      const mine = granted.filter(([, by]) => by === store);
      expect([name, mine.length > 0]).toEqual([name, true]);
      for (const [id] of mine) {
        const record = await until(() => store.get(id), {
          withinMs: 20_000,
          what: `${name} ${id}`,
        });
        expect(record).toMatchObject({ state: "in-progress", owner });
      }
      const next = `{victim} ${name} next` as RecordId;
      const reply = await until(() => store.claim(next, claimBy(owner, times)), {
        withinMs: 20_000,
        what: `${name} to claim again`,
      });
      expect(reply.kind).toBe("claimed");
      const [first] = mine[0] as [RecordId, Store];
      const completion = { owner, result, retentionMs: 60_000 };
      expect(await until(() => store.complete(first, completion))).toEqual({ kind: "recorded" });
    }
    expect((await successor.admin.role())[0]).toBe("master");
  });
});

describe("listing on a Cluster", () => {
  it("walks every master, page by page", async () => {
    const client = new Cluster([...cluster.roots]);
    closers.push(() => client.disconnect());
    const store = opens(client, { prefix: "listed:" });
    const ids = Array.from({ length: 50 }, (_, index) => `listed-${index}` as RecordId);
    await Promise.all(ids.map((id) => store.claim(id, claimBy(owner, times))));
    await Promise.all(ids.map((id) => store.note({ id, reason: "bypassed", operation: "o" })));
    const listed: string[] = [];
    const noted: string[] = [];
    for (let after: string | undefined = "0@"; after !== undefined;) {
      const page: Awaited<ReturnType<Store["list"]>> = await store.list({ limit: 7, after });
      listed.push(...page.records.map(({ id }) => id));
      after = page.next;
    }
    for (let after: string | undefined = "0@"; after !== undefined;) {
      const page: Awaited<ReturnType<Store["attention"]>> = await store.attention({ after });
      noted.push(...page.notes.map(({ id }) => id));
      after = page.next;
    }
    expect(listed.toSorted()).toEqual(ids.toSorted());
    expect(noted.toSorted()).toEqual(ids.toSorted());
    await expect(store.list({ after: "nonsense" })).rejects.toThrow(TypeError);
  });
});
