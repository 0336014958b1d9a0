/**
 * Every Postgres that is promised, and a pooler of transactions in front of one: the contract suite
 * on each, with binaries that are fetched where the machine has none.
 */
import { Pool } from "pg";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { embeddedPostgres } from "../../scripts/ensure-postgres.ts";
import { claimBy } from "../../src/conformance/claim-by.ts";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import { startPgbouncer } from "../support/pgbouncer.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { drivers, postgresSubject } from "../support/postgres-subjects.ts";
import type { Opened } from "../support/postgres-subjects.ts";
import type { Subject } from "../support/subjects.ts";

const closers: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function serverOf(version: string) {
  const bin = embeddedPostgres(version);
  if (bin === undefined) throw new Error(`Postgres ${version} could not be fetched with npm.`);
  const server = await startPostgres({ bin });
  closers.push(() => server.stop());
  return server;
}

const versions = [
  "14.23.0-beta.17",
  "15.18.0-beta.17",
  "16.14.0-beta.17",
  "17.10.0-beta.17",
  "18.4.0-beta.17",
];

describe.each(versions)("Postgres %s", (version) => {
  let subject: Subject;
  beforeAll(async () => {
    const opened = await drivers.pg(await serverOf(version));
    closers.push(() => opened.close());
    subject = await postgresSubject(opened, "latchkey");
    await subject.store.check();
  }, 120_000);
  storeSuite({ it, subject: () => subject, histories: 100 });
});

it("refuses Postgres 13", { timeout: 120_000 }, async () => {
  const server = await serverOf("13.23.0-beta.16");
  const pool = new Pool({ connectionString: server.url });
  closers.push(() => pool.end());
  const store = postgresStore(pool, { allowVolatile: true });
  await expect(store.check()).rejects.toThrow(/Postgres 13\.\d+ is too old/);
  await expect(store.migrate()).rejects.toMatchObject({ code: "store-unsuitable" });
});

const poolers: Readonly<Record<string, (url: string) => Omit<Opened, "listen">>> = {
  pg: (connectionString) => {
    const pool = new Pool({ connectionString, max: 12 });
    return { client: pool, close: () => pool.end(), run: (sql) => pool.query(sql) };
  },
  "postgres.js": (url) => {
    const sql = postgres(url, { max: 12, prepare: false });
    return { client: sql, close: () => sql.end(), run: (text) => sql.unsafe(text) };
  },
};

describe.each(Object.entries(poolers))("behind PgBouncer, %s", (name, open) => {
  let subject: Subject;
  beforeAll(async () => {
    const server = await startPostgres();
    const bouncer = await startPgbouncer(server.port);
    const opened = open(bouncer.url);
    closers.push(
      () => server.stop(),
      () => bouncer.stop(),
      () => opened.close(),
    );
    subject = await postgresSubject(opened, "latchkey");
  }, 120_000);
  storeSuite({ it, subject: () => subject, histories: 50 });

  it("passes check(), and one of 300 claims on three connections is granted (S-1)", async () => {
    const { store } = subject;
    await store.check();
    const owners = Array.from({ length: 300 }, (_, index) => `${name}-${index}` as OwnerToken);
    const claims = owners.map((owner) => store.claim("pooled" as RecordId, claimBy(owner)));
    const kinds = (await Promise.all(claims)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "claimed")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "in-progress")).toHaveLength(299);
  });
});
