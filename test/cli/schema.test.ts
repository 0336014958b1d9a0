/** `latchkey schema`, and Postgres by URL as the tools open it. */
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storeFromUrl } from "../../src/stores/store-from-url.ts";
import { startDemo } from "../support/demo-process.ts";
import { until } from "../support/poll.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { runHere } from "../support/run-command.ts";

let server: PostgresProcess;
let admin: Client;
beforeAll(async () => {
  server = await startPostgres({ settings: { fsync: "on" } });
  admin = new Client({ connectionString: server.url });
  await admin.connect();
});
afterAll(async () => {
  await admin.end();
  await server.stop();
});

/** The URL of a new and empty database. */
async function database(name: string): Promise<string> {
  await admin.query(`CREATE DATABASE ${name}`);
  return server.url.replace(/postgres$/, name);
}

describe("latchkey schema", () => {
  it("prints SQL that makes a database fit for the store", async () => {
    const { code, output, complaints } = await runHere(["schema"]);
    expect([code, complaints]).toEqual([0, ""]);
    const url = await database("printed");
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query(output);
    await client.end();
    const store = await storeFromUrl(url, { migrate: false });
    await expect(store.check()).resolves.toBeUndefined();
    await store.close();
  });

  it("names the schema as it is told, and refuses a name that is none in one line", async () => {
    const { output } = await runHere(["schema", "--schema", "payments"]);
    expect(output).toContain('CREATE TABLE IF NOT EXISTS "payments".records');
    expect(output).not.toMatch(/latchkey\.|"latchkey"/);
    const { code, complaints } = await runHere(["schema", "--schema", "a;b"]);
    expect(code).toBe(2);
    expect(complaints).toMatch(/^latchkey: schema must be .*; got "a;b"\.$/);
  });
});

describe("a Postgres URL", () => {
  it("opens a store that makes its schema, unless a tool only looks", async () => {
    const url = await database("opened");
    const looked = await runHere(["records", "list"], url);
    expect(looked.code).toBe(1);
    expect(looked.complaints).toMatch(/^latchkey: The store's schema is missing .*migrate\(\)\.$/);
    const store = await storeFromUrl(url.replace("postgres:", "postgresql:"));
    await expect(store.check()).resolves.toBeUndefined();
    await store.close();
    expect((await runHere(["records", "list"], url)).code).toBe(0);
  });

  it("with a password is not repeated by the demo", async () => {
    const url = (await database("demo")).replace("postgres@", "postgres:secret@");
    const demo = await startDemo({ store: url });
    await until(() => demo.output().includes("recording in"));
    expect(demo.output()).toContain("recording in postgres://postgres:***@127.0.0.1");
    expect(demo.output()).not.toContain("secret");
    await demo.kill();
  });

  it("that nobody answers is told in one line", async () => {
    const { code, complaints } = await runHere(
      ["records", "list"],
      "postgres://me@127.0.0.1:1/shop",
    );
    expect(code).toBe(1);
    expect(complaints).toMatch(/^latchkey: Postgres cannot be reached/);
    await expect(storeFromUrl("postgres://me@127.0.0.1:1/shop")).rejects.toMatchObject({
      code: "store-unavailable",
    });
  });

  it("that is none is refused", async () => {
    await expect(storeFromUrl("postgres://")).rejects.toThrow(TypeError);
  });
});
