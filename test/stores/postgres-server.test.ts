/**
 * The Postgres store and its server: migrations from several processes, what check() refuses, what
 * errors keep to themselves, and what a sweep leaves alone.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { Client, Pool } from "pg";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { migrationSql, postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import type {
  PostgresClient,
  PostgresStore,
  PostgresStoreOptions,
} from "../../src/stores/postgres/postgres-store.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { until } from "../support/poll.ts";
import { startProxy } from "../support/tcp-proxy.ts";

let server: PostgresProcess;
let admin: Pool;
const closers: (() => unknown)[] = [];
beforeAll(async () => {
  server = await startPostgres();
  admin = new Pool({ connectionString: server.url, max: 5 });
});
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});
afterAll(async () => {
  await admin.end();
  await server.stop();
});

const a = "owner-a" as OwnerToken;
const b = "owner-b" as OwnerToken;
const id = "one" as RecordId;
const long = { leaseMs: 60_000, retentionMs: 60_000 };
const module = new URL("../../src/stores/postgres/postgres-store.ts", import.meta.url).href;
const driver = import.meta.resolve("pg");

function poolOf(options: object = {}): Pool {
  const pool = new Pool({ connectionString: server.url, ...options });
  pool.on("error", () => undefined); // a cut connection is told by its query
  closers.push(() => pool.end());
  return pool;
}

let schemas = 0;
/** A migrated store in a schema of its own. */
async function storeOn(
  client: PostgresClient,
  options: PostgresStoreOptions = {},
): Promise<PostgresStore & { readonly schema: string }> {
  const schema = options.schema ?? `server${(schemas += 1)}`;
  const store = postgresStore(client, { allowVolatile: true, schema, ...options });
  closers.push(() => store.close());
  await store.migrate();
  return { ...store, schema };
}

/** Runs a script in a process of its own, with a `store` on `schema`; what it printed. */
async function inProcess(schema: string, script: string): Promise<string> {
  const head = `import pg from ${JSON.stringify(driver)};
    import { postgresStore } from ${JSON.stringify(module)};
    const pool = new pg.Pool({ connectionString: ${JSON.stringify(server.url)}, max: 5 });
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
    const { rows } = await admin.query("SELECT version FROM processes.migrations");
    expect(rows).toEqual([{ version: 1 }]);
  });
});

describe("the schema", () => {
  it("may be made twice, by hand and by migrate(), and lives beside others", async () => {
    await admin.query(migrationSql({ schema: "by-Hand" }));
    await admin.query(migrationSql({ schema: "by-Hand" }));
    const one = await storeOn(admin, { schema: "by-Hand" });
    const other = await storeOn(admin, { schema: "user" }); // a reserved word
    await one.check();
    expect(await one.claim(id, claimBy(a))).toMatchObject({ kind: "claimed" });
    expect(await other.claim(id, claimBy(b))).toMatchObject({ kind: "claimed" });
    expect(await one.forget(id)).toBe(true);
    expect(await other.get(id)).toMatchObject({ owner: b });
  });

  it("is refused when it is missing, newer, older, or somebody else's", async () => {
    const missing = postgresStore(admin, { schema: "missing", allowVolatile: true });
    await expect(missing.check()).rejects.toThrow(/schema is missing\. Run store\.migrate/);
    await expect(missing.claim(id, claimBy(a))).rejects.toMatchObject({
      code: "store-unsuitable",
    });
    const newer = await storeOn(admin);
    await admin.query(`INSERT INTO ${newer.schema}.migrations VALUES (99)`);
    await expect(newer.check()).rejects.toThrow(/version 99, newer than 1/);
    await expect(newer.migrate()).rejects.toThrow(/version 99, newer than 1\. Install a newer/);
    await admin.query(`DELETE FROM ${newer.schema}.migrations`);
    await expect(newer.check()).rejects.toThrow(/schema is missing/);
    await newer.migrate();
    await newer.check();
    await admin.query("CREATE SCHEMA taken; CREATE TABLE taken.records (id text)");
    const taken = postgresStore(admin, { schema: "taken" });
    await expect(taken.migrate()).rejects.toThrow(/holds tables of something else/);
  });

  it.each(["", "1st", "pg_own", "public", 'a"b', "a'b", "a$b", "ä", "a".repeat(51)])(
    "is refused under the name %j",
    (schema) => {
      expect(() => migrationSql({ schema })).toThrow(TypeError);
      expect(() => postgresStore(admin, { schema })).toThrow(/schema must be/);
    },
  );

  it("is used by a role that was granted no more than the page says", async () => {
    const { schema } = await storeOn(admin, { schema: "granted" });
    const page = readFileSync(new URL("../../docs/stores/postgres.md", import.meta.url), "utf8");
    const grants = /```sql\n(.*?GRANT.*?)```/s.exec(page)?.[1] ?? "";
    await admin.query("CREATE ROLE app LOGIN");
    const app = poolOf({ user: "app", connectionString: server.url.replace("postgres@", "app@") });
    const store = postgresStore(app, { schema, allowVolatile: true });
    await expect(store.check()).rejects.toMatchObject({ code: "store-unsuitable" });
    await expect(store.claim(id, claimBy(a))).rejects.toThrow(/role may not use the store/);
    await admin.query(
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
    const { schema } = await storeOn(admin);
    const client = new Client({ connectionString: server.url });
    await client.connect();
    const prepared = postgres(server.url, { max: 2 });
    const plain = postgres(server.url, { max: 2, prepare: false });
    closers.push(
      () => client.end(),
      () => prepared.end(),
      () => plain.end(),
    );
    for (const one of [admin, client, prepared, plain]) {
      const store = postgresStore(one, { schema, allowVolatile: true });
      closers.push(() => store.close());
      await expect(store.check()).resolves.toBeUndefined();
    }
  });

  it("runs commands on a single client one by one, without its warning", async () => {
    const { schema } = await storeOn(admin);
    const client = new Client({ connectionString: server.url });
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
    expect(() => postgresStore(admin, { sweepEveryMs: 0 })).toThrow(/sweepEveryMs must be/);
    const { schema } = await storeOn(admin);
    const changing = poolOf({
      types: { getTypeParser: () => (text: string) => text.replaceAll("\\x", "") },
    });
    const store = postgresStore(changing, { schema, allowVolatile: true });
    await expect(store.check()).rejects.toThrow(/failed the self-test: text or bytes/);
  });

  it("refuses a server that forgets what it acknowledged, unless that is allowed", async () => {
    const { schema } = await storeOn(admin);
    const strict = postgresStore(admin, { schema });
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
    const { schema } = await storeOn(admin);
    const reading = poolOf({ options: "-c default_transaction_read_only=on" });
    const store = postgresStore(reading, { schema, allowVolatile: true });
    await expect(store.check()).rejects.toThrow(/replica or read-only\. Connect to the writer/);
    await expect(store.claim(id, claimBy(a))).rejects.toMatchObject({
      code: "store-unavailable",
    });
  });
});

describe("errors of the Postgres store", () => {
  it("never repeat a result, a token or a key (I8)", async () => {
    const sql = postgres(server.url, { max: 1 });
    closers.push(() => sql.end());
    for (const client of [admin, sql] as const) {
      const store = await storeOn(client);
      const secret = Buffer.from("secret-result");
      const completion = { owner: "secret-owner" as OwnerToken, result: secret, retentionMs: 1 };
      await admin.query(`ALTER TABLE ${store.schema}.records ADD CHECK (id <> 'secret-id')`);
      const claim = claimBy("secret-owner" as OwnerToken);
      await admin.query(`DROP FUNCTION ${store.schema}.complete`);
      const calls = [
        store.claim("secret-id" as RecordId, claim),
        store.renew(id, "secret-owner" as OwnerToken, Number.NaN),
        store.complete(id, completion),
      ];
      for (const outcome of await Promise.allSettled(calls)) {
        expect(outcome).toMatchObject({ reason: { code: expect.stringMatching(/^store-/) } });
        expect(inspect(outcome, { depth: 10, showHidden: true })).not.toMatch(/secret|NaN/);
      }
    }
  });

  it.each([
    ["53100", "store-full"],
    ["53200", "store-full"],
    ["XX001", "store-corrupt"],
    ["53300", "store-unavailable"],
    ["57014", "store-unavailable"],
  ])("call the server's %s %s", async (state, code) => {
    const { schema, ...store } = await storeOn(admin);
    await raiseOnInsert(schema, `RAISE EXCEPTION 'no' USING ERRCODE = '${state}'`);
    await expect(store.claim(id, claimBy(a))).rejects.toMatchObject({ code });
  });

  it.each(["40001", "40P01"])("do not come of %s: the command is sent again", async (state) => {
    const { schema, ...store } = await storeOn(admin);
    await admin.query(`CREATE SEQUENCE ${schema}.tries`); // not rolled back with its transaction
    const conflict = `IF nextval('${schema}.tries') < 4 THEN
      RAISE EXCEPTION 'lost' USING ERRCODE = '${state}'; END IF`;
    await raiseOnInsert(schema, conflict);
    expect(await store.claim(id, claimBy(a))).toMatchObject({ kind: "claimed" });
    await admin.query(`ALTER SEQUENCE ${schema}.tries RESTART MINVALUE -100 START -100`);
    await admin.query(`SELECT setval('${schema}.tries', -100)`);
    const gaveUp = store.claim("two" as RecordId, claimBy(a));
    await expect(gaveUp).rejects.toMatchObject({ code: "store-unavailable" });
  });

  it("do not come of a stricter isolation, and one claim wins there, too", async () => {
    const { schema } = await storeOn(admin);
    for (const level of ["repeatable read", "serializable"]) {
      const options = `-c default_transaction_isolation=${level.replace(" ", "\\ ")}`;
      const store = postgresStore(poolOf({ options }), { schema });
      const owners = Array.from({ length: 20 }, (_, index) => `${level}-${index}` as OwnerToken);
      const claims = owners.map((owner) => store.claim(level as RecordId, claimBy(owner, long)));
      const kinds = (await Promise.all(claims)).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind === "claimed")).toHaveLength(1);
      expect(kinds.filter((kind) => kind === "in-progress")).toHaveLength(19);
    }
  });

  it("treat a record it cannot read as locked, never as free (B-97)", async () => {
    const { schema, ...store } = await storeOn(admin);
    await store.claim("sound" as RecordId, claimBy(a, long));
    const faults = ["layout = 2", "state = 'odd'", "lease_ends_at_ms = NULL", "on_abandoned = 'x'"];
    for (const fault of faults) {
      await store.claim(id, claimBy(a, long));
      await admin.query(`UPDATE ${schema}.records SET ${fault} WHERE id = 'one'`);
      const completion = { owner: a, result: new Uint8Array(0), retentionMs: 1 };
      const calls = [
        store.claim(id, claimBy(b)),
        store.get(id),
        store.renew(id, a, 1),
        store.complete(id, completion),
        store.release(id, a),
      ];
      for (const outcome of await Promise.allSettled(calls)) {
        expect(outcome).toMatchObject({ status: "rejected", reason: { code: "store-corrupt" } });
      }
      const { records, unreadable } = await store.list();
      expect([records.map((one) => one.id), unreadable]).toEqual([["sound"], ["one"]]);
      expect(await store.forget(id)).toBe(true);
    }
  });
});

/** Runs plpgsql before each row that is inserted. */
async function raiseOnInsert(schema: string, body: string): Promise<void> {
  await admin.query(`
    CREATE FUNCTION ${schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN ${body}; RETURN NEW; END $$;
    CREATE TRIGGER fail BEFORE INSERT ON ${schema}.records
      FOR EACH ROW EXECUTE FUNCTION ${schema}.fail();`);
}

describe("a connection to Postgres that is lost", () => {
  it.each(["pg", "postgres.js"])(
    "mid-call leaves an owner that recognises itself, through %s (L3)",
    async (name) => {
      const { schema } = await storeOn(admin);
      const proxy = await startProxy(server.port);
      closers.push(() => proxy.close());
      const url = server.url.replace(String(server.port), String(proxy.port));
      const sql = postgres(url, { max: 1, backoff: false });
      closers.push(() => sql.end({ timeout: 0 }));
      const store = postgresStore(name === "pg" ? poolOf({ connectionString: url }) : sql, {
        schema,
      });
      await store.claim("warm" as RecordId, claimBy(a)); // postgres.js asks for types at first
      proxy.cutReplies();
      const lost = store.claim(id, claimBy(a, long));
      await expect(lost).rejects.toMatchObject({ code: "store-unavailable" });
      proxy.heal();
      expect(await store.claim(id, claimBy(b, long))).toMatchObject({ kind: "in-progress" });
      expect(await store.claim(id, claimBy(a, long))).toMatchObject({ kind: "claimed" });
    },
  );
});

describe("a sweep", () => {
  it("deletes what is over, in batches, and passes over what is being claimed (S-11)", async () => {
    const { schema, ...store } = await storeOn(admin);
    const ids = Array.from({ length: 450 }, (_, index) => `swept-${index}` as RecordId);
    await Promise.all(ids.map((one) => store.claim(one, claimBy(a, long))));
    await store.claim(id, claimBy(a, long));
    await admin.query(`UPDATE ${schema}.records SET expires_at_ms = 1000 WHERE id <> 'one'`);
    const claimant = new Client({ connectionString: server.url });
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
    const quiet = await storeOn(admin);
    const { schema } = quiet;
    await quiet.claim(id, claimBy(a, long));
    await quiet.note({ id, reason: "bypassed", operation: "o" });
    await quiet.note({ id: "new" as RecordId, reason: "bypassed", operation: "o" });
    await admin.query(`UPDATE ${schema}.records SET expires_at_ms = 1000`);
    await admin.query(`UPDATE ${schema}.notes SET at_ms = at_ms - 2592000000 WHERE id = 'one'`);
    await storeOn(admin, { schema, sweepEveryMs: 20 });
    const left = async (table: string): Promise<number> =>
      (await admin.query(`SELECT id FROM ${schema}.${table}`)).rows.length;
    await until(async () => (await left("records")) + (await left("notes")) === 1);
    expect(await left("notes")).toBe(1);
  });
});
