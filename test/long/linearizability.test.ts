/**
 * Concurrent histories on real stores are linearizable, through lost replies and resets too; and
 * the checker fails stores whose commands are not one atomic step.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { Pool } from "pg";
import { afterAll, describe, expect, it } from "vitest";
import { memoryStore } from "../../src/stores/memory.ts";
import { postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { linesOf, verdictOf } from "../support/linearizability.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { startRedis } from "../support/redis-server.ts";
import { compete } from "../support/rivals.ts";
import { startProxy } from "../support/tcp-proxy.ts";
import type { TcpProxy } from "../support/tcp-proxy.ts";

const actors = [0, 1, 2, 3];
const keys = 150;
const seed = Math.floor(Math.random() * 1_000_000);
const closers: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

/**
 * Lets rivals loose on so many keys: the histories that have no legal order, in lines, and a word
 * when too many were left undecided.
 */
async function faultsOf(
  stores: readonly Store[],
  count = keys,
): Promise<readonly (readonly string[])[]> {
  const seeds = Array.from({ length: count }, (_, index) => seed + index);
  const faults: (readonly string[])[] = [];
  let undecided = 0;
  while (seeds.length > 0) {
    const batch = seeds.splice(0, 15);
    const histories = await Promise.all(batch.map((one) => compete({ stores, seed: one })));
    const verdicts = histories.map((history) => verdictOf(history));
    faults.push(...histories.filter((_, index) => verdicts[index] === "illegal").map(linesOf));
    undecided += verdicts.filter((verdict) => verdict === "undecided").length;
  }
  return undecided < count / 4 ? faults : [...faults, [`${undecided} of ${count} undecided`]];
}

function shared(store: Store): readonly Store[] {
  return actors.map(() => store);
}

/** Cuts replies and resets connections, turn by turn, until told to end. */
async function disturb(proxy: TcpProxy, signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn += 1) {
    await delay(turn % 2 === 0 ? 150 : 10);
    if (turn % 4 === 1) proxy.cutReplies();
    else if (turn % 4 === 3) proxy.reset();
    else proxy.heal();
  }
  proxy.heal();
}

async function redisStores(port: number): Promise<readonly Store[]> {
  return actors.map(() => {
    const client = new Redis(port, "127.0.0.1", {
      maxRetriesPerRequest: 0,
      retryStrategy: () => 5,
    });
    client.on("error", () => undefined);
    closers.push(() => client.disconnect());
    return redisStore(client);
  });
}

async function postgresStores(port: number): Promise<readonly Store[]> {
  const stores = actors.map(() => {
    const pool = new Pool({ host: "127.0.0.1", port, user: "postgres", max: 4 });
    pool.on("error", () => undefined);
    closers.push(() => pool.end());
    return postgresStore(pool, { sweepEveryMs: false });
  });
  await stores[0]?.migrate();
  return stores;
}

describe(`histories of four rivals, from seed ${seed}`, { timeout: 120_000 }, () => {
  it("are linearizable on memory", async () => {
    expect(await faultsOf(shared(memoryStore()))).toEqual([]);
  });

  it("are linearizable on SQLite, each rival with a connection of its own", async () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-rivals-"));
    const stores = actors.map(() => sqliteStore(join(folder, "records.db")));
    closers.push(
      () => rmSync(folder, { recursive: true }),
      ...stores.map((store) => () => store.close()),
    );
    expect(await faultsOf(stores, 60)).toEqual([]);
  });

  it.each([
    ["Redis", startRedis, redisStores],
    ["Postgres", startPostgres, postgresStores],
  ] as const)(
    "are linearizable on %s, through cut replies and resets (I7)",
    { timeout: 60_000 },
    async (_name, start, open) => {
      const server = await start();
      const proxy = await startProxy(server.port);
      closers.push(
        () => server.stop(),
        () => proxy.close(),
      );
      const stores = await open(proxy.port);
      const abort = new AbortController();
      const chaos = disturb(proxy, abort.signal);
      try {
        expect(await faultsOf(stores, keys * 2)).toEqual([]);
      } finally {
        abort.abort();
        await chaos;
      }
    },
  );
});

describe("the checker", () => {
  const broken: Readonly<Record<string, (store: Store) => Partial<Store>>> = {
    "looks first and claims later": (store) => ({
      claim: async (id, claim) => {
        const seen = await store.get(id);
        await delay(1);
        if (seen === undefined) await store.forget(id);
        return store.claim(id, claim);
      },
    }),
    "completes for any owner": (store) => ({
      complete: async (id, completion) => {
        const owner = (await store.get(id))?.owner ?? completion.owner;
        return store.complete(id, { ...completion, owner });
      },
    }),
    "deletes on release": (store) => ({
      release: async (id, owner) => {
        await store.forget(id);
        return store.release(id, owner).then(() => ({ kind: "released" }) as const);
      },
    }),
  };
  it.each(Object.entries(broken))("fails a store that %s", async (_name, mutate) => {
    const sound = memoryStore();
    expect(await faultsOf(shared({ ...sound, ...mutate(sound) }))).not.toEqual([]);
  });
});
