/**
 * Duplicates, lost replies and neighbours without a transaction, on one Postgres; then the same
 * histories with a guard broken on purpose.
 */
import type { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import type { Begin } from "../../src/engine/transaction/transactions.ts";
import { createEngine, isLatchkeyError } from "../../src/index.ts";
import type { Engine, RunRequest, Store } from "../../src/index.ts";
import type { OwnerToken } from "../../src/machine/record.ts";
import { namesOf } from "../../src/engine/values/key.ts";
import * as functions from "../../src/stores/postgres/sql/functions.generated.ts";
import { beginOn } from "../../src/stores/postgres/postgres-store.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { mutated } from "../support/postgres-subjects.ts";
import { startProxy } from "../support/tcp-proxy.ts";
import type { TcpProxy } from "../support/tcp-proxy.ts";
import { pgWorld } from "../support/transactions.ts";
import type { World } from "../support/transactions.ts";

let server: PostgresProcess;
let proxy: TcpProxy;
beforeAll(async () => {
  server = await startPostgres();
  proxy = await startProxy(server.port);
});
afterAll(async () => {
  await proxy.close();
  await server.stop();
});

const codeOf = (error: unknown): unknown => (isLatchkeyError(error) ? error.code : error);
const request = { operation: "order", key: "one", input: 1 } as const;
const id = namesOf().recordId("public", "order", "one");

/** A world with its engine; what it is asked to do is told in order. */
interface Arena extends World {
  readonly pool: Pool;
  readonly engine: Engine;
  /** Orders in a transaction of the engine's; resolves to the value or an error's code. */
  readonly order: (during?: () => unknown, more?: Partial<RunRequest>) => Promise<unknown>;
}
type Mutation = (store: Store) => Partial<Store>;

function arenaOf(world: World & { readonly pool: Pool }, mutate?: Mutation): Arena {
  const store = { ...world.store, ...mutate?.(world.store) };
  const engine = createEngine({ store, lease: "5s", storeTimeout: "1s" });
  const order: Arena["order"] = (during = () => "done", more = {}) => {
    const { transaction } = world;
    const asked = { ...request, ...more, transaction };
    const work = async (_: unknown, tx: unknown): Promise<unknown> => {
      await world.effect(tx, asked.key);
      return during();
    };
    return engine.run(asked, work).catch(codeOf);
  };
  return { ...world, store, engine, order };
}

interface History {
  readonly outcome: unknown;
  readonly run: (arena: Arena) => Promise<unknown>;
}

/** Runs an order whose work lasts until `meanwhile` is over; what both came to. */
async function during(
  { order }: Arena,
  meanwhile: () => Promise<unknown>,
): Promise<readonly unknown[]> {
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const first = order(async () => {
    begun.resolve();
    await end.promise;
    return "first";
  });
  await begun.promise;
  const second = await Promise.race([
    meanwhile(),
    new Promise((resolve) => setTimeout(resolve, 4000, "blocked")),
  ]);
  end.resolve();
  return [await first, second];
}

/** Transactions through the proxy, which breaks at the next COMMIT in the way it is told. */
function breaking(arena: Arena, fault: "cutReplies" | "reset"): Begin<unknown> {
  let isArmed = true;
  const { host: _, ...options } = arena.pool.options;
  const connectionString = server.url.replace(String(server.port), String(proxy.port));
  const Own = arena.pool.constructor as new (options: object) => Pool;
  const pool = new Own({ ...options, connectionString });
  pool.on("error", () => undefined);
  pools.push(pool);
  const begin = beginOn({
    connect: async () => {
      const client = await pool.connect();
      const query = async (text: string, values?: never[]) => {
        if (text !== "COMMIT" || !isArmed) return client.query(text, values);
        isArmed = false;
        proxy[fault]();
        return client.query(text).finally(() => proxy.heal());
      };
      return Object.assign(Object.create(client) as typeof client, { query });
    },
  });
  return begin;
}
const pools: Pool[] = [];
afterAll(() => Promise.all(pools.map((pool) => pool.end())));

const histories = {
  "a duplicate is refused while the first is at work, without waiting for it": {
    outcome: ["first", "in-progress", 1],
    run: async (arena) => [
      ...(await during(arena, () => arena.order())),
      await arena.effects("one"),
    ],
  },
  "a claim without a transaction is refused as fast": {
    outcome: ["first", "in-progress"],
    run: (arena) => during(arena, () => arena.engine.run(request, () => "second").catch(codeOf)),
  },
  "nobody sees anything of a claim before its COMMIT": {
    outcome: ["first", undefined],
    run: (arena) => during(arena, () => arena.engine.find(request)),
  },
  "a duplicate that waits gets the result": {
    outcome: ["first", "first", 1],
    run: async (arena) => {
      const waiting = Promise.withResolvers<unknown>();
      const [first] = await during(arena, async () => {
        const waits = new Promise<void>((resolve) => {
          arena.engine.subscribe(({ kind }) => kind === "waited" && resolve());
        });
        waiting.resolve(arena.order(undefined, { wait: "10s" }));
        await waits;
      });
      return [first, await waiting.promise, await arena.effects("one")];
    },
  },
  "work that throws leaves nothing": {
    outcome: ["no stock", undefined, 0],
    run: async (arena) => {
      const failing = () => Promise.reject(new Error("no stock"));
      const error = (await arena.order(failing)) as Error;
      return [error.message, await arena.engine.find(request), await arena.effects("one")];
    },
  },
  "work that is done is recorded": {
    outcome: ["done", "completed", 1],
    run: async (arena) => {
      const value = await arena.order();
      const found = await arena.engine.find(request);
      return [value, found?.record.state, await arena.effects("one")];
    },
  },
  "a lost reply to the COMMIT is asked after": {
    outcome: ["done", "completed", 1],
    run: async (arena) => {
      const { engine } = arena;
      const broken = { ...request, transaction: breaking(arena, "cutReplies") };
      const work = async (_: unknown, tx: unknown) => {
        await arena.effect(tx, "one");
        return "done";
      };
      const value = await engine.run(broken, work).catch(codeOf);
      const found = await engine.find(request);
      return [value, found?.record.state, await arena.effects("one")];
    },
  },
  "a COMMIT that never arrived is known to be none, and not repeated by itself": {
    outcome: ["rejected", undefined, 0, "done", 1],
    run: async (arena) => {
      const { engine } = arena;
      const broken = { ...request, transaction: breaking(arena, "reset") };
      const work = (_: unknown, tx: unknown) => arena.effect(tx, "one");
      const value = await engine.run(broken, work).catch(() => "rejected");
      const before = [value, await engine.find(request), await arena.effects("one")];
      return [...before, await arena.order(), await arena.effects("one")];
    },
  },
} as const satisfies Readonly<Record<string, History>>;

describe("in a transaction on Postgres", () => {
  it.each(Object.entries(histories))("%s", async (_, { run, outcome }) => {
    await fresh();
    const world = await pgWorld(server);
    expect(await run(arenaOf(world))).toEqual(outcome);
    await world.close();
  });

  it("one of 100 duplicates on many connections has its effect", async () => {
    await fresh();
    const world = await pgWorld(server);
    const { order, effects } = arenaOf(world);
    const replies = await Promise.all(Array.from({ length: 100 }, () => order()));
    expect(await effects("one")).toBe(1);
    expect(replies).toContain("done");
    // With 20 connections a duplicate may have been late for one, too: nothing was executed then.
    const known = new Set(["done", "in-progress", "store-unavailable"]);
    expect(replies.filter((reply) => !known.has(String(reply)))).toEqual([]);
    await world.close();
  });

  it("a COMMIT that the database refuses leaves nothing, and says why", async () => {
    await fresh();
    const world = await pgWorld(server);
    const { engine, transaction } = { ...world, ...arenaOf(world) };
    const refused = engine.run({ ...request, transaction }, async (_, tx) => {
      await (tx as Pool).query("INSERT INTO effects (key, note) VALUES ('one', 'n'), ('one', 'n')");
    });
    await expect(refused).rejects.toMatchObject({ code: "23505" });
    expect([await engine.find(request), await world.effects("one")]).toEqual([undefined, 0]);
    await world.close();
  });

  it.each([
    ["a live lease refuses it", "lease_ends_at_ms", undefined, "in-progress", 0],
    ["a lapsed one is taken over", "1000", undefined, "done", 1],
    ["a committed one goes to in doubt", "1000", "commit", "outcome-unknown", 0],
  ])("beside claims without one: %s", async (_, ...row) => {
    const [endsAt, committed, outcome, effects] = row;
    await fresh();
    const world = await pgWorld(server);
    const arena = arenaOf(world);
    const owner = "another" as OwnerToken;
    const { fingerprint } = await fingerprintIn(arena);
    await world.store.claim(id, { ...claimBy(owner), fingerprint, leaseMs: 60_000 });
    if (committed !== undefined) await world.store.commit(id, owner);
    const { rows } = await world.pool.query<{ name: string }>(
      "SELECT schemaname AS name FROM pg_tables WHERE tablename = 'records' " +
        "ORDER BY substr(schemaname, 3)::int DESC LIMIT 1",
    );
    await world.pool.query(`UPDATE ${rows[0]?.name}.records SET lease_ends_at_ms = ${endsAt}`);
    expect(await arena.order()).toBe(outcome);
    expect(await world.effects("one")).toBe(effects);
    await world.close();
  });
});

/** The fingerprint of the request, learnt from a claim of it that is forgotten again. */
async function fingerprintIn(arena: Arena) {
  let found: Awaited<ReturnType<Engine["find"]>>;
  await arena.engine.run(request, async () => (found = await arena.engine.find(request)));
  await arena.store.forget(id);
  if (found === undefined) throw new Error("The claim was not to be found.");
  return found.record;
}

async function fresh(): Promise<void> {
  const world = await pgWorld(server);
  await world.pool.query("DELETE FROM effects");
  await world.close();
}

const within = (store: Store, change: (inside: Store) => Partial<Store>): Partial<Store> => ({
  within: (tx) => {
    const inside = store.within?.(tx) ?? store;
    return { ...inside, ...change(inside) };
  },
});
const anyone = mutated(
  "record",
  "WHEN p_within THEN",
  "WHEN p_id <> '' THEN true WHEN p_within THEN",
);
const mutants: Readonly<
  Record<string, readonly [keyof typeof histories, Mutation | undefined, typeof functions | object]>
> = {
  "claims outside of the transaction": [
    "work that throws leaves nothing",
    (store) => within(store, () => ({ claim: (...args) => store.claim(...args) })),
    functions,
  ],
  "records on another connection": [
    "work that is done is recorded",
    (store) => within(store, () => ({ complete: (...args) => store.complete(...args) })),
    functions,
  ],
  "does not record at all": [
    "work that is done is recorded",
    (store) => within(store, () => ({ complete: async () => ({ kind: "recorded" }) })),
    functions,
  ],
  "lets duplicates wait for the row": [
    "a duplicate is refused while the first is at work, without waiting for it",
    undefined,
    anyone,
  ],
  "takes a COMMIT without a reply for none": [
    "a lost reply to the COMMIT is asked after",
    (store) => within(store, forgetful()),
    functions,
  ],
};

/** Claims each key as if it had never been: what a blind re-run would meet. */
function forgetful(): (inside: Store) => Partial<Store> {
  const claimed = { kind: "claimed", fence: 1, attempt: 1, takeover: false, steps: {} } as const;
  let claims = 0;
  return (inside) => ({
    claim: (...args) => ((claims += 1) === 1 ? inside.claim(...args) : Promise.resolve(claimed)),
  });
}

describe("the histories notice a store that", () => {
  it.each(Object.entries(mutants))("%s", async (_, [name, mutate, texts]) => {
    await fresh();
    const world = await pgWorld(server, { texts: texts as typeof functions });
    const { run, outcome } = histories[name];
    expect(await run(arenaOf(world, mutate))).not.toEqual(outcome);
    await world.close();
  });
});
