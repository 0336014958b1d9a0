/**
 * What goes wrong on Postgres: errors in the contract's words that keep secrets to themselves, lost
 * connections and crashes, rows that nobody can read.
 */
import { inspect } from "node:util";
import postgres from "postgres";
import { describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { startProxy } from "../support/tcp-proxy.ts";
import { usePostgres } from "../support/use-postgres.ts";

const place = usePostgres();
const { closers, poolOf, storeOn } = place;
const a = "owner-a" as OwnerToken;
const b = "owner-b" as OwnerToken;
const id = "one" as RecordId;
const long = { leaseMs: 60_000, retentionMs: 60_000 };

describe("errors of the Postgres store", () => {
  it("never repeat a result, a token or a key (I8)", async () => {
    const sql = postgres(place.server.url, { max: 1 });
    closers.push(() => sql.end());
    for (const client of [place.admin, sql] as const) {
      const store = await storeOn(client);
      const secret = Buffer.from("secret-result");
      const completion = { owner: "secret-owner" as OwnerToken, result: secret, retentionMs: 1 };
      await place.admin.query(`ALTER TABLE ${store.schema}.records ADD CHECK (id <> 'secret-id')`);
      const claim = claimBy("secret-owner" as OwnerToken);
      await place.admin.query(`DROP FUNCTION ${store.schema}.complete`);
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
    const { schema, ...store } = await storeOn(place.admin);
    await raiseOnInsert(schema, `RAISE EXCEPTION 'no' USING ERRCODE = '${state}'`);
    await expect(store.claim(id, claimBy(a))).rejects.toMatchObject({ code });
  });

  it.each(["40001", "40P01"])("do not come of %s: the command is sent again", async (state) => {
    const { schema, ...store } = await storeOn(place.admin);
    // A sequence goes on where its transaction is rolled back.
    await place.admin.query(`CREATE SEQUENCE ${schema}.tries`);
    const conflict = `IF nextval('${schema}.tries') < 4 THEN
      RAISE EXCEPTION 'lost' USING ERRCODE = '${state}'; END IF`;
    await raiseOnInsert(schema, conflict);
    expect(await store.claim(id, claimBy(a))).toMatchObject({ kind: "claimed" });
    await place.admin.query(`ALTER SEQUENCE ${schema}.tries MINVALUE -100 RESTART WITH -100`);
    const gaveUp = store.claim("two" as RecordId, claimBy(a));
    await expect(gaveUp).rejects.toMatchObject({ code: "store-unavailable" });
  });

  it("do not come of a stricter isolation, and one claim wins there, too", async () => {
    const { schema } = await storeOn(place.admin);
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
    const { schema, ...store } = await storeOn(place.admin);
    await store.claim("sound" as RecordId, claimBy(a, long));
    const faults = ["layout = 2", "state = 'odd'", "lease_ends_at_ms = NULL", "on_abandoned = 'x'"];
    for (const fault of faults) {
      await store.claim(id, claimBy(a, long));
      await place.admin.query(`UPDATE ${schema}.records SET ${fault} WHERE id = 'one'`);
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
  await place.admin.query(`
    CREATE FUNCTION ${schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN ${body}; RETURN NEW; END $$;
    CREATE TRIGGER fail BEFORE INSERT ON ${schema}.records
      FOR EACH ROW EXECUTE FUNCTION ${schema}.fail();`);
}

describe("a connection to Postgres that is lost", () => {
  it.each(["pg", "postgres.js"])(
    "mid-call leaves an owner that recognises itself, through %s (L3)",
    async (name) => {
      const { schema } = await storeOn(place.admin);
      const proxy = await startProxy(place.server.port);
      closers.push(() => proxy.close());
      const url = place.server.url.replace(String(place.server.port), String(proxy.port));
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

describe("a Postgres that crashes", () => {
  it("keeps what it acknowledged, and is found again", async () => {
    const own = await startPostgres();
    closers.push(() => own.stop());
    const store = await storeOn(poolOf({ connectionString: own.url }));
    const result = Uint8Array.of(1, 2);
    await store.claim(id, claimBy(a, long));
    await store.complete(id, { owner: a, result, retentionMs: 60_000 });
    await own.crash();
    await expect(store.get(id)).rejects.toMatchObject({ code: "store-unavailable" });
    await own.restart();
    const replay = await store.claim(id, claimBy(b, long));
    expect(replay).toMatchObject({ kind: "completed", result });
  });
});
