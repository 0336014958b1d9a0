/**
 * SQLite on disk: several processes on one file, kill -9, files of a newer schema or none at all.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Fingerprint, OwnerToken, RecordId } from "../../src/machine/record.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";

const id = "one" as RecordId;
const claim = {
  owner: "a" as OwnerToken,
  fingerprint: "f" as Fingerprint,
  operation: "o",
  leaseMs: 30_000,
  retentionMs: 60_000,
  onAbandoned: "takeover",
} as const;
const module = new URL("../../src/stores/sqlite/sqlite-store.ts", import.meta.url).href;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-sqlite-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What a script says on a Node that is started with these flags: stdout, then stderr. */
function onNode(flags: readonly string[], script: string): readonly string[] {
  const args = [...flags, "--input-type=module", "--eval", script];
  const { stdout, stderr } = spawnSync(process.execPath, args);
  return [stdout.toString().trim(), stderr.toString().trim()];
}

/** Runs a script in a process of its own, with `store` open on `path`; what it printed. */
async function inProcess(path: string, script: string): Promise<string> {
  const head = `import { sqliteStore } from ${JSON.stringify(module)};
    const store = sqliteStore(${JSON.stringify(path)});
    const claim = ${JSON.stringify(claim)};`;
  const args = ["--input-type=module", "--eval", head + script];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await once(child, "close");
  return output;
}

describe("the SQLite store on disk", () => {
  it("says in words that the runtime has no node:sqlite, and breaks nothing beside it", () => {
    const stores = new URL("../../src/stores/store-from-url.ts", import.meta.url).href;
    const script = `const { storeFromUrl } = await import(${JSON.stringify(stores)});
      await storeFromUrl("memory:");
      await storeFromUrl("sqlite:x.db").catch(({ code, message }) => console.log(code, message));`;
    const words = "This runtime has no node:sqlite. Use Node 22.13, Bun 1.4, Deno 2.5 or newer";
    const [output, complaints] = onNode(["--no-experimental-sqlite"], script);
    expect(complaints).toBe("");
    expect(output).toBe(`store-unsuitable ${words}, or another store.`);
  });

  it("grants one of 60 claims from three processes at once (S-1, B-47)", async () => {
    const path = join(folder, "race.db");
    const script = `
      const owners = Array.from({ length: 20 }, (_, index) => process.pid + "-" + index);
      const claims = owners.map((owner) => store.claim("one", { ...claim, owner }));
      const replies = await Promise.all(claims);
      console.log(replies.map((reply) => reply.kind).join(" "));
      await store.close();`;
    const outputs = await Promise.all([1, 2, 3].map(() => inProcess(path, script)));
    const kinds = outputs.join(" ").trim().split(/\s+/);
    expect(kinds).toHaveLength(60);
    expect(kinds.filter((kind) => kind === "claimed")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "in-progress")).toHaveLength(59);
  });

  it("waits its turn where another process is just making the file", async () => {
    const path = join(folder, "making.db");
    // A write lock on a file that is not yet in WAL: then SQLite refuses the switch at once.
    const script = `
      const { DatabaseSync } = require("node:sqlite");
      const { parentPort } = require("node:worker_threads");
      const database = new DatabaseSync(${JSON.stringify(path)});
      database.exec("BEGIN IMMEDIATE; CREATE TABLE other (x);");
      parentPort.postMessage("held");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
      database.exec("COMMIT");
      database.close();`;
    const maker = new Worker(script, { eval: true });
    await once(maker, "message");
    const store = sqliteStore(path);
    expect(await store.claim(id, claim)).toMatchObject({ kind: "claimed" });
    await store.close();
    await maker.terminate();
  });

  it("keeps what it acknowledged when its process is killed (kill -9)", async () => {
    const path = join(folder, "killed.db");
    const script = `
      await store.claim("one", claim);
      await store.complete("one", { owner: "a", result: Uint8Array.of(7), retentionMs: 60000 });
      process.kill(process.pid, "SIGKILL");`;
    await inProcess(path, script);
    const store = sqliteStore(path);
    const replay = await store.claim(id, { ...claim, owner: "b" as OwnerToken });
    await store.close();
    expect(replay).toMatchObject({ kind: "completed", result: Uint8Array.of(7) });
  });

  it("refuses a database of a newer schema, and leaves it as it is", () => {
    const path = join(folder, "newer.db");
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    expect(() => sqliteStore(path)).toThrow(/schema 99, newer than 1/);
  });

  it("refuses a file that is no database, and a folder it cannot make", () => {
    const path = join(folder, "text.db");
    writeFileSync(path, "this is no database, but a text of some length".repeat(50));
    expect(() => sqliteStore(path)).toThrow(/cannot be used: file is not a database/);
    expect(() => sqliteStore(join(path, "below", "x.db"))).toThrow(/cannot be used/);
  });

  it("treats a row it cannot read as locked, and spares its neighbours (B-97)", async () => {
    const path = join(folder, "torn.db");
    const store = sqliteStore(path);
    await store.claim(id, claim);
    const other = new DatabaseSync(path);
    other.exec(`UPDATE latchkey_records SET fields = '{"state":"in-progress"}'`);
    other.close();
    const [torn, sound] = await Promise.allSettled([
      store.claim(id, claim),
      store.claim("two" as RecordId, claim),
    ]);
    await store.close();
    expect(torn).toMatchObject({ status: "rejected", reason: { code: "store-corrupt" } });
    expect(sound).toMatchObject({ status: "fulfilled", value: { kind: "claimed" } });
  });

  it("sweeps what is over, in batches (S-11)", async () => {
    let nowMs = 1000;
    const store = sqliteStore(":memory:", { now: () => nowMs });
    const ids = Array.from({ length: 5 }, (_, index) => `swept-${index}` as RecordId);
    await Promise.all(ids.map((one) => store.claim(one, claim)));
    nowMs += claim.retentionMs;
    expect(await store.sweep(3)).toBe(3);
    expect(await store.sweep(3)).toBe(2);
    await store.close();
  });
});
