/**
 * Power cuts of SQLite and Postgres at many instants: of all that their processes wrote, the disk
 * holds what they had synchronised, and of the rest nothing, or some. What had been acknowledged by
 * then must be there.
 */
import { spawn } from "node:child_process";
import { chownSync, cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { ensureStrace, NO_STRACE } from "../../../scripts/ensure-strace.ts";
import { diceOf } from "../../../src/conformance/histories.ts";
import { postgresStore } from "../../../src/stores/postgres/postgres-store.ts";
import { sqliteStore } from "../../../src/stores/sqlite/sqlite-store.ts";
import type { Store } from "../../../src/stores/store.ts";
import { cutPower, readTrace, tracing, whenHeard } from "../../support/disk-trace.ts";
import type { DiskTrace } from "../../support/disk-trace.ts";
import { forgottenIn, payments, recordPayments } from "../../support/power-cut.ts";
import { until } from "../../support/poll.ts";
import { serverUser, startPostgres } from "../../support/postgres-server.ts";
import { guard, slay } from "../../support/server-process.ts";

const strace = ensureStrace();
if (strace === undefined) process.stderr.write(`${NO_STRACE}\n`);
const seed = Math.floor(Math.random() * 1_000_000);
const cuts = [0.1, 0.3, 0.5, 0.7, 0.9].map((part) => Math.floor(part * payments));

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-power-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Payments that were recorded while everything was traced. */
interface Recording {
  readonly trace: DiskTrace;
  /** The folder that was written to, and a copy of it at rest, before the first payment. */
  readonly folder: string;
  readonly atRest: string;
}

async function recordOnSqlite(): Promise<Recording> {
  const [folder, apart] = [newFolder(), newFolder()];
  const file = join(apart, "trace");
  const script = new URL("../../support/records-writer.ts", import.meta.url).pathname;
  const [program = "", ...args] = tracing(String(strace), file);
  const child = spawn(program, [...args, process.execPath, script, join(folder, "records.db")]);
  guard(child);
  let said = "";
  child.stdout.on("data", (bytes: Buffer) => (said += bytes.toString()));
  await until(() => said.includes("at rest."), { withinMs: 15_000 });
  const atRest = join(apart, "at-rest");
  cpSync(folder, atRest, { recursive: true });
  child.stdin.write("go\n");
  await until(() => said.includes("all done."), { withinMs: 60_000 });
  await slay(child);
  return { trace: await readWhole(file), folder, atRest };
}

async function recordOnPostgres(settings: Readonly<Record<string, string>>): Promise<Recording> {
  const apart = newFolder();
  const { uid, gid } = serverUser();
  const file = join(apart, "trace");
  if (uid !== undefined && gid !== undefined) chownSync(apart, uid, gid);
  const server = await startPostgres({ settings, under: tracing(String(strace), file) });
  closers.push(() => server.stop());
  const { pool, store } = await onPostgres(server.url);
  await store.migrate();
  const tell = (words: string) => pool.query(`SELECT '${words}'`);
  await pool.query("CHECKPOINT");
  await tell("at rest.");
  const atRest = join(apart, "at-rest");
  cpSync(server.data, atRest, { recursive: true });
  await recordPayments(store, tell);
  await tell("all done.");
  await pool.end();
  await server.crash();
  return { trace: await readWhole(file), folder: server.data, atRest };
}

async function onPostgres(url: string) {
  const pool = new Pool({ connectionString: url, max: 4 });
  pool.on("error", () => undefined); // its server is stopped before it
  return { pool, store: postgresStore(pool, { allowVolatile: true, sweepEveryMs: false }) };
}

// Whoever traces writes on after the traced have ended.
function readWhole(file: string): Promise<DiskTrace> {
  return until(
    () => {
      const trace = readTrace(readFileSync(file, "utf8"));
      return whenHeard(trace, "all done.") === Infinity ? undefined : trace;
    },
    { withinMs: 10_000, everyMs: 200 },
  );
}

type Opens = (folder: string) => Promise<readonly [Store, () => Promise<unknown>]>;

const openSqlite: Opens = async (folder) => {
  const store = sqliteStore(join(folder, "records.db"));
  return [store, () => store.close()];
};

const openPostgres: Opens = async (folder) => {
  const server = await startPostgres({ data: folder });
  const { pool, store } = await onPostgres(server.url);
  return [store, () => pool.end().then(() => server.stop())];
};

/** What is forgotten of acknowledged payments when power is cut, at every one of the instants. */
async function forgottenBy(
  { trace, folder, atRest }: Recording,
  open: Opens,
  survives: () => boolean,
): Promise<readonly string[]> {
  const first = whenHeard(trace, "at rest.");
  const forgotten: string[] = [];
  for (const cut of cuts) {
    const copy = newFolder();
    cpSync(atRest, copy, { recursive: true });
    const end = whenHeard(trace, `recorded ${cut}.`);
    cutPower(trace, copy, { folder, between: [first, end], survives });
    const [store, close] = await open(copy);
    forgotten.push(...(await forgottenIn(store, (words) => whenHeard(trace, words) <= end)));
    await close();
  }
  return forgotten;
}

describe.skipIf(strace === undefined)(`a machine that loses power, from seed ${seed}`, () => {
  const onDurable = (): Promise<Recording> =>
    recordOnPostgres({ fsync: "on", synchronous_commit: "on" });
  const onForgetful = (): Promise<Recording> =>
    recordOnPostgres({ fsync: "on", synchronous_commit: "off" });

  it.each([
    ["SQLite", recordOnSqlite, openSqlite],
    ["Postgres (synchronous_commit on)", onDurable, openPostgres],
  ] as const)(
    "keeps all that %s acknowledged",
    async (_name, record, open) => {
      const recording = await record();
      const dice = diceOf(seed);
      const some = (): boolean => dice.pick([true, false]);
      expect(await forgottenBy(recording, open, () => false)).toEqual([]);
      expect(await forgottenBy(recording, open, some)).toEqual([]);
    },
    120_000,
  );

  it("forgets what Postgres had not written (no guarantee: synchronous_commit off)", async () => {
    const recording = await onForgetful();
    expect(await forgottenBy(recording, openPostgres, () => false)).not.toEqual([]);
  }, 120_000);

  it("forgets what a disk only said that it had (no guarantee: a disk that lies)", async () => {
    const recording = await recordOnSqlite();
    const trace = recording.trace.filter(({ name }) => !name.endsWith("sync"));
    expect(await forgottenBy({ ...recording, trace }, openSqlite, () => false)).not.toEqual([]);
  }, 120_000);
});
