/**
 * The Postgres store and its server: migrations from several processes, the rights it needs, what
 * check() refuses, and what a sweep leaves alone.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Client } from "pg";
import postgres from "postgres";
import { describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { migrationSql, postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import type { PostgresClient } from "../../src/stores/postgres/postgres-store.ts";
import { openPglite } from "../support/pglite.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { until } from "../support/poll.ts";
import { usePostgres } from "../support/use-postgres.ts";

const place = usePostgres();
const { closers, poolOf, storeOn } = place;
const a = "owner-a" as OwnerToken;
const b = "owner-b" as OwnerToken;
const id = "one" as RecordId;
const long = { leaseMs: 60_000, retentionMs: 60_000 };
const module = new URL("../../src/stores/postgres/postgres-store.ts", import.meta.url).href;
const driver = import.meta.resolve("pg");

/** Runs a script in a process of its own, with a `store` on `schema`; what it printed. */
async function inProcess(schema: string, script: string): Promise<string> {
  const head = `import pg from ${JSON.stringify(driver)};
    import { postgresStore } from ${JSON.stringify(module)};
    const pool = new pg.Pool({ connectionString: ${JSON.stringify(place.server.url)}, max: 5 });
    const store = postgresStore(pool, { schema: ${JSON.stringify(schema)} });
    const claim = ${JSON.stringify(claimBy(a, long))};
    await store.migrate();`;
  const args = ["--input-type=module", "--eval", `${head}${script};await pool.end();`];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await once(child, "close");
  return output;
}

describe("several processes on one Postgres", () => {
  it("migrate at once, and grant one of 100 claims (S-1, B-47)", async () => {
    const script = `
      const owners = Array.from({ length: 25 }, (_, index) => process.pid + "-" + index);
      const claims = owners.map((owner) => store.claim("one", { ...claim, owner }));
      console.log((await Promise.all(claims)).map((reply) => reply.kind).join(" "));`;
    const outputs = await Promise.all([1, 2, 3, 4].map(() => inProcess("processes", script)));
    const kinds = outputs.join(" ").trim().split(/\s+/);
    expect(kinds).toHaveLength(100);
    expect(kinds.filter((kind) => kind === "claimed")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "in-progress")).toHaveLength(99);
    const { rows } = await place.admin.query("SELECT version FROM processes.migrations");
    expect(rows).toEqual([{ version: 1 }]);
  });
});

describe("the schema", () => {
  it("may be made twice, by hand and by migrate(), and lives beside others", async () => {
    await place.admin.query(migrationSql({ schema: "by-Hand" }));
    await place.admin.query(migrationSql({ schema: "by-Hand" }));
    const one = await storeOn(place.admin, { schema: "by-Hand" });
    const other = await storeOn(place.admin, { schema: "user" }); // a reserved word
    await one.check();
    expect(await one.claim(id, claimBy(a))).toMatchObject({ kind: "claimed" });
    expect(await other.claim(id, claimBy(b))).toMatchObject({ kind: "claimed" });
    expect(await one.forget(id)).toBe(true);
    expect(await other.get(id)).toMatchObject({ owner: b });
  });

  it("is refused when it is missing, newer, older, or somebody else's", async () => {
    const missing = postgresStore(place.admin, { schema: "missing", allowVolatile: true });
    await expect(missing.check()).rejects.toThrow(/schema is missing\. Run store\.migrate/);
    await expect(missing.claim(id, claimBy(a))).rejects.toMatchObject({
      code: "store-unsuitable",
    });
    const newer = await storeOn(place.admin);
    await place.admin.query(`INSERT INTO ${newer.schema}.migrations VALUES (99)`);
    await expect(newer.check()).rejects.toThrow(/version 99, newer than 1/);
    await expect(newer.migrate()).rejects.toThrow(/version 99, newer than 1\. Install a newer/);
    await place.admin.query(`DELETE FROM ${newer.schema}.migrations`);
    await expect(newer.check()).rejects.toThrow(/schema is missing/);
    await newer.migrate();
    await newer.check();
    await place.admin.query("CREATE SCHEMA taken; CREATE TABLE taken.records (id text)");
    const taken = postgresStore(place.admin, { schema: "taken" });
    await expect(taken.migrate()).rejects.toThrow(/holds tables of something else/);
  });

  it.each(["", "1st", "pg_own", "public", 'a"b', "a'b", "a$b", "ä", "a".repeat(51)])(
    "is refused under the name %j",
    (schema) => {
      expect(() => migrationSql({ schema })).toThrow(TypeError);
      expect(() => postgresStore(place.admin, { schema })).toThrow(/schema must be/);
    },
  );

  it("is used by a role that was granted no more than the page says", async () => {
    const { schema } = await storeOn(place.admin, { schema: "granted" });
    const page = readFileSync(new URL("../../docs/stores/postgres.md", import.meta.url), "utf8");
    const grants = /```sql\n(.*?GRANT.*?)```/s.exec(page)?.[1] ?? "";
    await place.admin.query("CREATE ROLE app LOGIN");
    const app = poolOf({
      user: "app",
      connectionString: place.server.url.replace("postgres@", "app@"),
    });
    const store = postgresStore(app, { schema, allowVolatile: true });
    await expect(store.check()).rejects.toMatchObject({ code: "store-unsuitable" });
    await expect(store.claim(id, claimBy(a))).rejects.toThrow(/role may not use the store/);
    await place.admin.query(
      grants.replaceAll("latchkey.", "granted.").replaceAll("SCHEMA latchkey", "SCHEMA granted"),
    );
    await store.check();
    await expect(store.migrate()).resolves.toBeUndefined();
    await store.note({ id, reason: "bypassed", operation: "o" });
    expect(await store.sweep()).toBe(0);
    expect(await store.dismiss(id)).toBe(1);
    await expect(app.query("DELETE FROM granted.migrations")).rejects.toThrow(/denied/);
  });
});

describe("check()", () => {
  it("passes through a pool, a client, and postgres.js with and without preparing", async () => {
    const { schema } = await storeOn(place.admin);
    const client = new Client({ connectionString: place.server.url });
    await client.connect();
    const prepared = postgres(place.server.url, { max: 2 });
    const plain = postgres(place.server.url, { max: 2, prepare: false });
    closers.push(
      () => client.end(),
      () => prepared.end(),
      () => plain.end(),
    );
    for (const one of [place.admin, client, prepared, plain]) {
      const store = postgresStore(one, { schema, allowVolatile: true });
      closers.push(() => store.close());
      await expect(store.check()).resolves.toBeUndefined();
    }
  });

  it("takes the handle of a transaction of each driver for the same commands", async () => {
    const { schema } = await storeOn(place.admin);
    const sql = postgres(place.server.url, { max: 1 });
    const db = await openPglite();
    closers.push(
      () => sql.end(),
      () => db.close(),
    );
    await storeOn(db, { schema });
    const claimWith = async (transaction: PostgresClient) => {
      const store = postgresStore(transaction, { schema, sweepEveryMs: false });
      const { kind } = await store.claim(id, claimBy(a, long));
      return kind;
    };
    const client = await place.admin.connect();
    await client.query("BEGIN");
    const inPg = await claimWith(client);
    await client.query("ROLLBACK");
    client.release();
    const undo = new Error("undo");
    const inOthers: string[] = [];
    const run = async (transaction: PostgresClient): Promise<never> => {
      inOthers.push(await claimWith(transaction));
      throw undo;
    };
    await expect(sql.begin(run)).rejects.toBe(undo);
    await expect(db.transaction(run)).rejects.toBe(undo);
    expect([inPg, ...inOthers]).toEqual(["claimed", "claimed", "claimed"]);
    for (const one of [place.admin, db]) {
      expect(await postgresStore(one, { schema, sweepEveryMs: false }).get(id)).toBeUndefined();
    }
  });

  it("runs commands on a single client one by one, without its warning", async () => {
    const { schema } = await storeOn(place.admin);
    const client = new Client({ connectionString: place.server.url });
    await client.connect();
    closers.push(() => client.end());
    const warnings: string[] = [];
    const note = ({ message }: Error): void => void warnings.push(message);
    process.on("warning", note);
    closers.push(() => process.off("warning", note));
    const store = postgresStore(client, { schema });
    const ids = ["1", "2", "3"] as readonly string[] as readonly RecordId[];
    const replies = await Promise.all(ids.map((one) => store.claim(one, claimBy(a))));
    expect(replies.map(({ kind }) => kind)).toEqual(["claimed", "claimed", "claimed"]);
    expect(warnings).toEqual([]);
  });

  it("refuses a client of another shape, and one that changes what passes through", async () => {
    for (const client of [undefined, {}, { query: "text" }, () => 1]) {
      expect(() => postgresStore(client as never)).toThrow(/postgresStore needs a client/);
    }
    expect(() => postgresStore(place.admin, { sweepEveryMs: 0 })).toThrow(/sweepEveryMs must be/);
    const { schema } = await storeOn(place.admin);
    const changing = poolOf({
      types: { getTypeParser: () => (text: string) => text.replaceAll("\\x", "") },
    });
    const store = postgresStore(changing, { schema, allowVolatile: true });
    await expect(store.check()).rejects.toThrow(/failed the self-test: text or bytes/);
  });

  it("refuses a server that forgets what it acknowledged, unless that is allowed", async () => {
    const { schema } = await storeOn(place.admin);
    const strict = postgresStore(place.admin, { schema });
    await expect(strict.check()).rejects.toThrow(/forget what it acknowledged \(fsync off\)/);
    const hasty = poolOf({ options: "-c synchronous_commit=off" });
    const both = postgresStore(hasty, { schema });
    await expect(both.check()).rejects.toThrow(/synchronous_commit and fsync off/);
    await postgresStore(hasty, { schema, allowVolatile: true }).check();
  });

  it("refuses a replica", async () => {
    const standby = await startPostgres({ standby: true });
    closers.push(() => standby.stop());
    const store = postgresStore(poolOf({ connectionString: standby.url }), { allowVolatile: true });
    await expect(store.check()).rejects.toThrow(/replica or read-only\. Connect to the writer/);
  });

  it("refuses a server that cannot write", async () => {
    const { schema } = await storeOn(place.admin);
    const reading = poolOf({ options: "-c default_transaction_read_only=on" });
    const store = postgresStore(reading, { schema, allowVolatile: true });
    await expect(store.check()).rejects.toThrow(/replica or read-only\. Connect to the writer/);
    await expect(store.claim(id, claimBy(a))).rejects.toMatchObject({
      code: "store-unavailable",
    });
  });
});

describe("a sweep", () => {
  it("deletes what is over, in batches, and passes over what is being claimed (S-11)", async () => {
    const { schema, ...store } = await storeOn(place.admin);
    const ids = Array.from({ length: 450 }, (_, index) => `swept-${index}` as RecordId);
    await Promise.all(ids.map((one) => store.claim(one, claimBy(a, long))));
    await store.claim(id, claimBy(a, long));
    await place.admin.query(`UPDATE ${schema}.records SET expires_at_ms = 1000 WHERE id <> 'one'`);
    const claimant = new Client({ connectionString: place.server.url });
    await claimant.connect();
    closers.push(() => claimant.end());
    await claimant.query(`BEGIN; SELECT FROM ${schema}.records WHERE id = 'swept-0' FOR UPDATE`);
    expect(await store.sweep(300)).toBe(300);
    expect(await store.sweep()).toBe(149);
    await claimant.query("COMMIT");
    expect(await store.sweep()).toBe(1);
    expect(await store.get(id)).toMatchObject({ state: "in-progress" });
  });

  it("in the background needs nobody, and drops notes after 30 days", async () => {
    const quiet = await storeOn(place.admin);
    const { schema } = quiet;
    await quiet.claim(id, claimBy(a, long));
    await quiet.note({ id, reason: "bypassed", operation: "o" });
    await quiet.note({ id: "new" as RecordId, reason: "bypassed", operation: "o" });
    await place.admin.query(`UPDATE ${schema}.records SET expires_at_ms = 1000`);
    await place.admin.query(
      `UPDATE ${schema}.notes SET at_ms = at_ms - 2592000000 WHERE id = 'one'`,
    );
    await storeOn(place.admin, { schema, sweepEveryMs: 20 });
    const left = async (table: string): Promise<number> =>
      (await place.admin.query(`SELECT id FROM ${schema}.${table}`)).rows.length;
    await until(async () => (await left("records")) + (await left("notes")) === 1);
    expect(await left("notes")).toBe(1);
  });
});
