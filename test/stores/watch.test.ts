/** Watching records: every store that can wake waiters, and what it leaves behind. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import { until } from "../support/poll.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { drivers } from "../support/postgres-subjects.ts";
import { singleClients } from "../support/redis-clients.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisProcess } from "../support/redis-server.ts";

const owner = "a" as OwnerToken;
const result = Uint8Array.of(1);
const retentionMs = 60_000;
const closers: (() => unknown)[] = [];
let server: RedisProcess;
let postgres: PostgresProcess;
let admin: Redis;
beforeAll(async () => {
  [server, postgres] = await Promise.all([startRedis(), startPostgres()]);
  admin = new Redis(server.port, "127.0.0.1");
});
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
  admin.disconnect();
  await Promise.all([server.stop(), postgres.stop()]);
});

let count = 0;
let id: RecordId;
beforeEach(() => {
  id = `watched-${(count += 1)}` as RecordId;
});

/** A watch that counts its nudges. */
async function watched(store: Store, record: RecordId) {
  const nudges = { count: 0 };
  const stop = await store.watch?.(record, () => (nudges.count += 1));
  if (stop === undefined) throw new Error("This store cannot watch.");
  return { nudges, stop };
}

/** What may end an owner's work, by another process (its store). */
const endings: Readonly<Record<string, (store: Store, record: RecordId) => Promise<unknown>>> = {
  completion: (store, record) => store.complete(record, { owner, result, retentionMs }),
  release: (store, record) => store.release(record, owner),
  "operator's word": async (store, record) => {
    await store.commit(record, owner);
    await store.release(record, owner); // into doubt: nothing for a waiter to go on with
    const outcome = { kind: "not-executed" } as const;
    return store.resolve(record, { attempt: 1, by: "ops", note: "n", outcome });
  },
};

interface Pair {
  readonly here: Store;
  readonly there: Store;
}
const opens: readonly (readonly [string, () => Promise<Pair>])[] = [
  [
    "memory",
    async () => {
      const store = memoryStore();
      return { here: store, there: store };
    },
  ],
  [
    "SQLite",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "latchkey-watch-"));
      const path = join(folder, "w.db");
      const [here, there] = [sqliteStore(path), sqliteStore(path)];
      closers.push(
        () => rmSync(folder, { recursive: true }),
        () => here.close(),
        () => there.close(),
      );
      return { here, there };
    },
  ],
  ...Object.entries(drivers).map(([name, open]): (typeof opens)[number] => [
    `Postgres through ${name}`,
    async () => {
      const { client, close, listen } = await open(postgres);
      const here = postgresStore(client, { listen });
      closers.push(close, () => here.close());
      await here.migrate();
      return { here, there: postgresStore(client, { sweepEveryMs: false }) };
    },
  ]),
  ...singleClients
    .filter(([name]) => !/pool|GLIDE/.test(name))
    .map(([name, open]): (typeof opens)[number] => [
      `Redis through ${name}`,
      async () => {
        const { client, close } = await open({ host: "127.0.0.1", port: server.port });
        const here = redisStore(client);
        closers.push(close, () => here.close());
        return { here, there: redisStore(admin) };
      },
    ]),
];

describe.each(opens)("watching on %s", (_name, open) => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await open();
  });

  it.each(Object.entries(endings))("nudges at a %s by somebody else", async (_ending, end) => {
    const { here, there } = pair;
    await there.claim(id, claimBy(owner, { leaseMs: 5000, retentionMs }));
    const { nudges, stop } = await watched(here, id);
    await there.renew(id, owner, 5000);
    expect(nudges.count).toBe(0);
    await end(there, id);
    await until(() => nudges.count > 0, { withinMs: 2000 });
    stop();
  });

  it("nudges each watcher until it stops, and at its own record only", async () => {
    const { here, there } = pair;
    const other = `${id}-other` as RecordId;
    for (const one of [id, other]) await there.claim(one, claimBy(owner, { leaseMs: 5000 }));
    const [first, second] = [await watched(here, id), await watched(here, id)];
    const elsewhere = await watched(here, other);
    first.stop();
    first.stop(); // once more does no harm
    await there.release(id, owner);
    await until(() => second.nudges.count > 0, { withinMs: 2000 });
    expect([first.nudges.count, elsewhere.nudges.count]).toEqual([0, 0]);
    second.stop();
    elsewhere.stop();
  });
});

describe("watching on Redis", () => {
  const channels = () => admin.call("PUBSUB", "SHARDCHANNELS") as Promise<string[]>;
  const subscribers = async () => {
    const list = String(await admin.call("CLIENT", "LIST", "TYPE", "PUBSUB"));
    return list.split("\n").filter((line) => line !== "").length;
  };

  it("subscribes once a record on one connection, and ends both", async () => {
    const redis = new Redis(server.port, "127.0.0.1");
    closers.push(() => redis.disconnect());
    const store = redisStore(redis);
    await until(async () => (await channels()).length === 0); // of the tests before
    const before = await subscribers();
    const all = await Promise.all(Array.from({ length: 20 }, () => watched(store, id)));
    const others = await Promise.all(
      Array.from({ length: 20 }, (_, index) => watched(store, `${id}-${index}` as RecordId)),
    );
    expect((await channels()).length).toBe(21);
    expect(await subscribers()).toBe(before + 1);
    for (const { stop } of [...all, ...others]) stop();
    await until(async () => (await channels()).length === 0);
    await store.close();
    await until(async () => (await subscribers()) <= before);
    await expect(watched(store, id)).rejects.toMatchObject({ code: "store-unavailable" });
  });

  it.each(singleClients.filter(([name]) => !/pool|GLIDE/.test(name)))(
    "listens again after its connection was cut: %s",
    async (_name, open) => {
      const { client, close } = await open({ host: "127.0.0.1", port: server.port });
      const store = redisStore(client);
      closers.push(close, () => store.close());
      await store.claim(id, claimBy(owner, { leaseMs: 60_000 }));
      const { nudges, stop } = await watched(store, id);
      await admin.call("CLIENT", "KILL", "TYPE", "PUBSUB");
      await until(() => nudges.count > 0); // something may have been missed
      await until(async () => (await channels()).includes(`latchkey:${id}`));
      const seen = nudges.count;
      await store.release(id, owner);
      await until(() => nudges.count > seen);
      expect(await channels()).toContain(`latchkey:${id}`);
      stop();
      await until(async () => !(await channels()).includes(`latchkey:${id}`));
    },
  );

  it("hears under the client's own prefix", async () => {
    const redis = new Redis(server.port, "127.0.0.1", { keyPrefix: "app:" });
    const store = redisStore(redis);
    closers.push(
      () => redis.disconnect(),
      () => store.close(),
    );
    await store.claim(id, claimBy(owner, { leaseMs: 60_000 }));
    const { nudges, stop } = await watched(store, id);
    await store.release(id, owner);
    await until(() => nudges.count > 0);
    expect(await channels()).toContain(`app:latchkey:${id}`);
    stop();
  });

  it("is refused by an ACL without the channels; records are written all the same", async () => {
    await admin.call("ACL", "SETUSER", "deaf", "on", ">pw", "~latchkey:*", "+@all");
    const redis = new Redis(server.port, "127.0.0.1", { username: "deaf", password: "pw" });
    const store = redisStore(redis);
    closers.push(
      () => redis.disconnect(),
      () => store.close(),
    );
    await store.claim(id, claimBy(owner, { leaseMs: 60_000 }));
    await expect(watched(store, id)).rejects.toMatchObject({ code: "store-unavailable" });
    const completion = { owner, result, retentionMs };
    expect(await store.complete(id, completion)).toEqual({ kind: "recorded" });
    expect((await store.get(id))?.state).toBe("completed");
  });

  it("is left to polling where the client cannot, or where that is wished", async () => {
    for (const [name, open] of singleClients) {
      const { client, close } = await open({ host: "127.0.0.1", port: server.port });
      closers.push(close);
      const cannot = /pool|GLIDE/.test(name);
      expect([name, "watch" in redisStore(client)]).toEqual([name, !cannot]);
      expect("watch" in redisStore(client, { subscriber: false })).toBe(false);
      expect("watch" in redisStore(client, { subscriber: admin })).toBe(true);
      if (!cannot) continue;
      expect(() => redisStore(admin, { subscriber: client })).toThrow(/subscriber must be/);
    }
  });
});
