/**
 * Waking waiters by LISTEN and NOTIFY: only where somebody waits, and after a lost connection. What
 * every store that can watch has in common is in `watch.test.ts`.
 */
import { Client } from "pg";
import { describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import type {
  ListenClient,
  PostgresClient,
  PostgresStore,
} from "../../src/stores/postgres/postgres-store.ts";
import { composeMigration } from "../../src/stores/postgres/schema.ts";
import { until } from "../support/poll.ts";
import { mutated } from "../support/postgres-subjects.ts";
import { usePostgres } from "../support/use-postgres.ts";

const place = usePostgres();
const a = "owner-a" as OwnerToken;
const id = "one" as RecordId;
const long = { leaseMs: 60_000, retentionMs: 60_000 };
const completion = { owner: a, result: Uint8Array.of(1), retentionMs: 60_000 };
const listener = (): Client => new Client({ connectionString: place.server.url });

const storeOn = (client: PostgresClient, listen?: () => ListenClient, schema?: string) =>
  place.storeOn(client, { ...(listen && { listen }), ...(schema && { schema }) });

/** Counts the nudges of a watched record. */
async function watched(store: PostgresStore) {
  let nudges = 0;
  const leave = await store.watch?.(id, () => (nudges += 1));
  return {
    leave: () => leave?.(),
    count: () => nudges,
    atLeast: (count: number) => until(() => nudges >= count, { what: `${count} nudges` }),
  };
}

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

describe("watching a record in Postgres", () => {
  it("waits for no transaction that holds its row: the pool stays free (B-51)", async () => {
    const store = await storeOn(place.poolOf({ max: 2 }), listener);
    await store.claim(id, claimBy(a, long));
    await store.release(id, a);
    const client = await place.admin.connect();
    place.closers.push(() => client.release());
    await client.query("BEGIN");
    await store.within(client).claim(id, claimBy("owner-b" as OwnerToken, long));
    const all = await Promise.all([1, 2, 3].map(() => watched(store)));
    const other = await store.claim("two" as RecordId, claimBy(a, long));
    expect(other).toMatchObject({ kind: "claimed" });
    await client.query("ROLLBACK");
    expect(all.map(({ count }) => count())).toEqual([0, 0, 0]);
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
    await expect(watched(store)).rejects.toMatchObject({ code: "store-unavailable" });
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
