/**
 * Races between connections of one Postgres, made certain by a gate between a command's look and
 * its write. Then the same races, and the contract suite, against functions broken on purpose.
 */
import { Client, Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import type { PostgresStore } from "../../src/stores/postgres/postgres-store.ts";
import { composeMigration } from "../../src/stores/postgres/schema.ts";
import type { SchemaTexts } from "../../src/stores/postgres/schema.ts";
import * as functions from "../../src/stores/postgres/sql/functions.generated.ts";
import { gatedClock, gates, inStep } from "../support/postgres-gate.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { drivers, mutated, postgresSubject } from "../support/postgres-subjects.ts";

let server: PostgresProcess;
let pool: Pool;
let slowPool: Pool;
let keeper: Client;
beforeAll(async () => {
  server = await startPostgres();
  const client = { connectionString: server.url };
  pool = new Pool({ ...client, max: 12, ...clockOf(300_000) });
  slowPool = new Pool({ ...client, max: 1, application_name: "slow", ...clockOf(-300_000) });
  keeper = new Client(client);
  await keeper.connect();
  await keeper.query(gates);
});
afterAll(async () => {
  await Promise.all([pool.end(), slowPool.end(), keeper.end()]);
  await server.stop();
});

/** What a store that asks its client for the time would be told: here it is off by `offMs`. */
function clockOf(offMs: number): { readonly options: string } {
  return { options: `-c client.now_ms=${Date.now() + offMs}` };
}

const a = "owner-a" as OwnerToken;
const id = "one" as RecordId;
const rival = "rival" as OwnerToken;
const long = { leaseMs: 60_000, retentionMs: 60_000 };
const completion = { result: Uint8Array.of(1), retentionMs: 60_000 };

/** A store, and the client behind it, whose schema holds nothing but one race. */
interface Arena {
  readonly store: PostgresStore;
  /** The same records through a connection that stays between its look and its write for longer. */
  readonly slow: PostgresStore;
  /** A sweep that is as slow. */
  readonly sweep: () => Promise<unknown>;
  /** Sets when the record's lease, or its retention, ended. */
  readonly end: (column: "lease_ends_at_ms" | "expires_at_ms") => Promise<unknown>;
}

let schemas = 0;
async function arena(texts: SchemaTexts): Promise<Arena> {
  const schema = `race${(schemas += 1)}`;
  await pool.query(composeMigration({ schema }, texts));
  await pool.query(gatedClock(schema));
  const options = { schema, sweepEveryMs: false } as const;
  const store = postgresStore(pool, options);
  const slow = postgresStore(slowPool, options);
  const sweep = async () => {
    const remove = `DELETE FROM "${schema}".records WHERE expires_at_ms = 1000`;
    return slowPool.query(`BEGIN; ${remove}; SELECT "${schema}".now_ms(); COMMIT`);
  };
  const end: Arena["end"] = (column) =>
    pool.query(`UPDATE "${schema}".records SET ${column} = 1000`);
  return { store, slow, sweep, end };
}

type Call = () => Promise<{ readonly kind: string }>;

/** Six owners that claim at once. */
function rivals(store: PostgresStore): readonly Call[] {
  const owners = ["1", "2", "3", "4", "5", "6"] as readonly string[] as readonly OwnerToken[];
  return owners.map((owner) => () => store.claim(id, claimBy(owner, long)));
}

/** What calls at once are answered, in alphabetical order. */
async function race(calls: readonly Call[]): Promise<readonly string[]> {
  return (await inStep(keeper, calls)).map(({ kind }) => kind).toSorted();
}
const oneWinner = ["claimed", ...Array.from({ length: 5 }, () => "in-progress")];

/** A late word of the owner, and a takeover while it is being judged: what both are told. */
async function overtaken(
  { store, slow, end }: Arena,
  word: (store: PostgresStore) => Promise<{ readonly kind: string }>,
): Promise<readonly unknown[]> {
  await slow.claim(id, claimBy(a));
  await end("lease_ends_at_ms");
  let inherited: readonly string[] = [];
  const replies = await inStep(keeper, [
    () => word(slow),
    async () => {
      const reply = await store.claim(id, claimBy(rival, long));
      if (reply.kind === "claimed") inherited = Object.keys(reply.steps);
      return reply;
    },
  ]);
  return [...replies.map(({ kind }) => kind), ...inherited];
}

/** A race, and its only outcome. */
interface Race {
  readonly outcome: readonly unknown[];
  readonly run: (arena: Arena) => Promise<readonly unknown[]>;
}
const races = {
  "for a new key (S-1)": {
    outcome: oneWinner,
    run: ({ store }) => race(rivals(store)),
  },
  "for a key whose lease has ended (S-4)": {
    outcome: oneWinner,
    run: async ({ store, end }) => {
      await store.claim(id, claimBy(a));
      await end("lease_ends_at_ms");
      return race(rivals(store));
    },
  },
  "for a released key": {
    outcome: oneWinner,
    run: async ({ store }) => {
      await store.claim(id, claimBy(a));
      await store.release(id, a);
      return race(rivals(store));
    },
  },
  "for a key that is being swept": {
    outcome: oneWinner,
    run: async ({ store, sweep, end }) => {
      await store.claim(id, claimBy(a));
      await end("expires_at_ms");
      const sweeping: Call = () => sweep().then(() => ({ kind: "swept" }));
      const kinds = await race([sweeping, ...rivals(store)]);
      return kinds.filter((kind) => kind !== "swept");
    },
  },
  "between a renewal and a takeover": {
    outcome: ["renewed", "in-progress"],
    run: (arena) => overtaken(arena, (store) => store.renew(id, a, 60_000)),
  },
  "between a completion and a takeover": {
    outcome: ["recorded", "completed"],
    run: (arena) => overtaken(arena, (store) => store.complete(id, { owner: a, ...completion })),
  },
  "between a commit and a takeover (B-75)": {
    outcome: ["committed", "in-doubt"],
    run: (arena) => overtaken(arena, (store) => store.commit(id, a)),
  },
  "between a release and a takeover (B-84)": {
    outcome: ["released", "claimed", "in-progress"],
    run: async (arena) => {
      const kinds = await overtaken(arena, (store) => store.release(id, a));
      return [...kinds, (await arena.store.get(id))?.state];
    },
  },
  "between a step and a takeover": {
    outcome: ["recorded", "claimed", "charge"],
    run: (arena) =>
      overtaken(arena, (store) =>
        store.step(id, { owner: a, name: "charge", result: completion.result }),
      ),
  },
  "between clients whose clocks are ten minutes apart (B-91)": {
    outcome: ["claimed", "in-progress"],
    run: async ({ store, slow }) => {
      const first = await slow.claim(id, claimBy(a, long));
      return [first.kind, (await store.claim(id, claimBy(rival, long))).kind];
    },
  },
  "between two operators": {
    outcome: ["not-in-doubt", "resolved"],
    run: async ({ store }) => {
      await store.claim(id, claimBy(a, long));
      await store.commit(id, a);
      await store.release(id, a);
      const word = { attempt: 1, note: "", outcome: { kind: "not-executed" } } as const;
      return race(["eve", "bob"].map((by) => () => store.resolve(id, { ...word, by })));
    },
  },
} as const satisfies Readonly<Record<string, Race>>;

describe("a race on one Postgres", () => {
  it.each(Object.entries(races))("%s has one winner", async (_, { run, outcome }) => {
    expect(await run(await arena(functions))).toEqual(outcome);
  });
});

const unlocked = [" FOR UPDATE;", ";"] as const;
const racy: Readonly<Record<string, readonly [SchemaTexts, keyof typeof races]>> = {
  "claims without a lock": [mutated("claim", ...unlocked), "for a key whose lease has ended (S-4)"],
  "overwrites a row that came meanwhile": [
    mutated("claim", "WHERE r.id IS NOT NULL;", "WHERE true;"),
    "for a new key (S-1)",
  ],
  "overwrites a row that came after a sweep": [
    mutated("claim", "WHERE r.id IS NOT NULL;", "WHERE locked;"),
    "for a key that is being swept",
  ],
  "renews without a lock": [mutated("renew", ...unlocked), "between a renewal and a takeover"],
  "completes without a lock": [
    mutated("complete", ...unlocked),
    "between a completion and a takeover",
  ],
  "commits without a lock": [
    mutated("commit", ...unlocked),
    "between a commit and a takeover (B-75)",
  ],
  "releases without a lock": [
    mutated("release", ...unlocked),
    "between a release and a takeover (B-84)",
  ],
  "remembers steps without a lock": [mutated("step", ...unlocked), "between a step and a takeover"],
  "asks its client for the time": [
    mutated(
      "record",
      "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
      "current_setting('client.now_ms')::bigint",
    ),
    "between clients whose clocks are ten minutes apart (B-91)",
  ],
  "resolves without a lock": [mutated("resolve", ...unlocked), "between two operators"],
};

describe("the races notice a store that", () => {
  it.each(Object.entries(racy))("%s", async (_, [texts, name]) => {
    expect(await races[name].run(await arena(texts))).not.toEqual(races[name].outcome);
  });
});

const wrong: Readonly<Record<string, SchemaTexts>> = {
  "asks for no owner": mutated("record", " OR r.owner <> p_owner THEN", " THEN"),
  "knows no end of the retention": mutated("record", "now_ms >= r.expires_at_ms OR ", ""),
  "takes the lease for the retention": mutated(
    "claim",
    "greatest(p_retention_ms, p_lease_ms)",
    "p_lease_ms",
  ),
  "takes the retention for the lease": mutated(
    "claim",
    "now_ms + p_lease_ms, p_lease_ms,",
    "now_ms + p_retention_ms, p_lease_ms,",
  ),
  "takes over what was committed": mutated("claim", "r.committed OR ", ""),
  "takes over what must be asked for": mutated("claim", " OR r.on_abandoned = 'in-doubt'", ""),
  "locks its own owner out": mutated("claim", "r.owner <> p_owner AND now_ms", "now_ms"),
  "asks for the fingerprint of results alone": mutated(
    "claim",
    "r.fingerprint <> p_fingerprint THEN",
    "r.state = 'completed' AND r.fingerprint <> p_fingerprint THEN",
  ),
  "lets fences stand": mutated("claim", "greatest(last_fence + 1, now_ms * 1000)", "now_ms * 1000"),
  "believes a deadline beyond its lease": mutated(
    "claim",
    "r.lease_ends_at_ms > now_ms + r.lease_ms THEN",
    "false THEN",
  ),
  "keeps the last result": mutated("complete", "IF standing = 'completed' THEN", "IF false THEN"),
  "lets a late owner believe that its result was kept": mutated(
    "complete",
    "IN ('completed', 'failed')",
    "IN ('completed')",
  ),
  "frees what was committed": mutated("release", "NOT r.committed", "true"),
  "forgets steps at a takeover": mutated(
    "claim",
    "WHEN live THEN stored.step_names",
    "WHEN false THEN stored.step_names",
  ),
  "keeps the last result of a step": mutated("step", "IF p_name = ANY (r.step_names)", "IF false"),
  "sweeps what is kept": mutated("sweep", " AND expires_at_ms <= now_ms", ""),
};

describe("the contract suite on Postgres notices a store that", () => {
  it.each(Object.entries(wrong))("%s", async (_, texts) => {
    const opened = await drivers.pg(server);
    const subject = await postgresSubject(opened, `wrong${(schemas += 1)}`, texts);
    const collected: (() => Promise<void>)[] = [];
    storeSuite({
      it: (_name, test) => collected.push(test),
      subject: () => subject,
      histories: 40,
      seed: 1, // each fault is known to show
    });
    const failed = async (): Promise<boolean> => {
      for (const test of collected) {
        if (
          await test().then(
            () => false,
            () => true,
          )
        )
          return true;
      }
      return false;
    };
    expect(await failed()).toBe(true);
    await subject.close();
  });
});
