/** Waking waiters in other processes by LISTEN and NOTIFY, and only where somebody waits. */
import { Client } from "pg";
import postgres from "postgres";
import { describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import type {
  ListenClient,
  PostgresClient,
  PostgresStore,
} from "../../src/stores/postgres/postgres-store.ts";
import { composeMigration } from "../../src/stores/postgres/schema.ts";
import { openPglite } from "../support/pglite.ts";
import { until } from "../support/poll.ts";
import { mutated } from "../support/postgres-subjects.ts";
import { usePostgres } from "../support/use-postgres.ts";

const place = usePostgres();
const { closers } = place;
const a = "owner-a" as OwnerToken;
const id = "one" as RecordId;
const long = { leaseMs: 60_000, retentionMs: 60_000 };
const completion = { owner: a, result: Uint8Array.of(1), retentionMs: 60_000 };
const listener = (): Client => new Client({ connectionString: place.server.url });

const storeOn = (client: PostgresClient, listen?: () => ListenClient, schema?: string) =>
  place.storeOn(client, { ...(listen && { listen }), ...(schema && { schema }) });

/** Counts the nudges of one watched record. */
async function watched(store: PostgresStore, one = id) {
  let nudges = 0;
  const leave = await store.watch?.(one, () => (nudges += 1));
  return {
    leave: () => leave?.(),
    count: () => nudges,
    atLeast: (count: number) => until(() => nudges >= count, { what: `${count} nudges` }),
  };
}

type Pair = readonly [PostgresClient, () => ListenClient];
const drivers: Readonly<Record<string, () => Promise<Pair>>> = {
  pg: async () => [place.admin, listener],
  "postgres.js": async () => {
    const sql = postgres(place.server.url, { max: 2 });
    closers.push(() => sql.end());
    return [sql, () => sql];
  },
  PGlite: async () => {
    const db = await openPglite();
    closers.push(() => db.close());
    return [db, () => db];
  },
};

describe.each(Object.entries(drivers))("watching through %s", (_name, open) => {
  it("wakes whoever waits when a record is completed, released or resolved", async () => {
    const [client, listen] = await open();
    const store = await storeOn(client, listen);
    const worker = await storeOn(client, undefined, store.schema);
    const other = "two" as RecordId;
    await worker.claim(id, claimBy(a, long));
    await worker.claim(other, claimBy(a, long));
    const waiting = await watched(store);
    const elsewhere = await watched(store, other);
    await worker.release(id, a);
    await waiting.atLeast(1);
    await worker.claim(id, claimBy(a, long));
    await worker.commit(id, a);
    await worker.release(id, a);
    await waiting.atLeast(2);
    await worker.resolve(id, { by: "ops", note: "", outcome: { kind: "not-executed" } });
    await waiting.atLeast(3);
    await worker.claim(id, claimBy(a, long));
    waiting.leave();
    await worker.complete(id, completion);
    await worker.complete(other, completion);
    await elsewhere.atLeast(1); // sent later on the same connection, so the other has been
    expect([waiting.count(), elsewhere.count()]).toEqual([3, 1]);
  });
});

/** What is notified while `work` runs, by record. */
async function notified(schema: string, work: () => Promise<unknown>): Promise<readonly string[]> {
  const client = listener();
  await client.connect();
  const heard: string[] = [];
  client.on("notification", ({ payload = "" }) => void heard.push(payload));
  await client.query(`LISTEN ${schema}_nudge`);
  await work();
  await client.query(`NOTIFY ${schema}_nudge, 'end'`);
  await until(() => heard.includes("end"));
  await client.end();
  return heard;
}

async function lifeOf(store: PostgresStore): Promise<void> {
  await store.claim(id, claimBy(a, long));
  await store.complete(id, completion);
}

describe("a commit on Postgres", () => {
  it("notifies only while somebody watches its record", async () => {
    const store = await storeOn(place.admin, listener);
    expect(await notified(store.schema, () => lifeOf(store))).toEqual(["end"]);
    await store.forget(id);
    await store.claim(id, claimBy(a, long));
    await watched(store);
    const heard = await notified(store.schema, () => store.complete(id, completion));
    expect(heard).toEqual([id, "end"]);
  });

  it("that always notified would be noticed", async () => {
    const schema = place.newSchema();
    const texts = mutated("record", "IF now_ms < r.watched_until_ms THEN", "IF true THEN");
    await place.admin.query(composeMigration({ schema }, texts));
    const store = await storeOn(place.admin, listener, schema);
    expect(await notified(schema, () => lifeOf(store))).not.toEqual(["end"]);
  });
});

async function listeners(): Promise<readonly number[]> {
  const select = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
  return (await place.admin.query<{ pid: number }>(select)).rows.map(({ pid }) => pid);
}

describe("a listening connection to Postgres", () => {
  it("that is lost wakes everybody, and is made anew", async () => {
    const store = await storeOn(place.admin, listener);
    await store.claim(id, claimBy(a, long));
    const waiting = await watched(store);
    const [pid] = await listeners();
    await place.admin.query("SELECT pg_terminate_backend($1)", [pid]);
    await waiting.atLeast(1);
    await until(async () => (await listeners()).some((one) => one !== pid));
    await waiting.atLeast(2); // what was notified meanwhile is lost
    await store.complete(id, completion);
    await waiting.atLeast(3);
    expect(waiting.count()).toBe(3);
  });

  it("ends with the store, and is not made before somebody watches", async () => {
    const store = await storeOn(place.admin, listener);
    await lifeOf(store);
    expect(await listeners()).toEqual([]);
    const one = await watched(store);
    expect(await listeners()).toHaveLength(1);
    one.leave();
    await store.close();
    await until(async () => (await listeners()).length === 0);
    expect(one.count()).toBe(0);
  });

  it("that cannot be made is told to whoever asks, and tried again", async () => {
    let port = 1;
    const store = await storeOn(
      place.admin,
      () => new Client({ host: "127.0.0.1", port, user: "postgres" }),
    );
    await store.claim(id, claimBy(a, long));
    await expect(watched(store)).rejects.toMatchObject({ code: "store-unavailable" });
    port = place.server.port;
    const waiting = await watched(store);
    await store.complete(id, completion);
    await waiting.atLeast(1);
    expect(waiting.count()).toBe(1);
  });

  it("is not there where none was handed in", async () => {
    const store = await storeOn(place.admin, undefined);
    expect("watch" in store).toBe(false);
  });
});
