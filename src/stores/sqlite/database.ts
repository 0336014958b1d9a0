/**
 * Opening the file: pragmas that make a commit durable, the schema and its version, and errors in
 * words.
 */
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { isLatchkeyError, LatchkeyError } from "../../errors.ts";

/** How long opening waits for others that open the same file, in ms. */
const patienceMs = 3000;
const schemaVersion = 1;
const schema = `
  CREATE TABLE IF NOT EXISTS latchkey_records (
    id TEXT PRIMARY KEY NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    doubt_at_ms INTEGER,
    fields TEXT NOT NULL,
    result BLOB
  ) STRICT;
  CREATE INDEX IF NOT EXISTS latchkey_records_expiry ON latchkey_records (expires_at_ms);
  CREATE INDEX IF NOT EXISTS latchkey_records_doubt ON latchkey_records (id)
    WHERE doubt_at_ms IS NOT NULL;
  CREATE TABLE IF NOT EXISTS latchkey_notes (
    id TEXT NOT NULL,
    reason TEXT NOT NULL,
    operation TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (id, reason)
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${schemaVersion};
`;

/** An open database whose every commit reaches the disk. */
export function openDatabase(path: string): DatabaseSync {
  try {
    if (path !== ":memory:") makeFolder(dirname(path));
    return openInTurn(path);
  } catch (error) {
    throw storeError(error);
  }
}

// Of several processes that start at once on a new file only one can switch it to WAL, and SQLite's
// own timeout does not cover that: the others are refused at once, and try again.
function openInTurn(path: string): DatabaseSync {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    const database = newDatabase(path, patienceMs);
    try {
      prepare(database);
      return database;
    } catch (error) {
      database.close();
      if (!isBusy(error) || performance.now() >= untilMs) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10); // opening is synchronous
    }
  }
}

/**
 * A connection that waits up to `timeoutMs` for others. Looked up when it is needed, so that a
 * runtime without `node:sqlite` hears so in words, and may use what else is exported beside it.
 */
export function newDatabase(path: string, timeoutMs: number): DatabaseSync {
  const sqlite = process.getBuiltinModule?.("node:sqlite");
  if (sqlite !== undefined) return new sqlite.DatabaseSync(path, { timeout: timeoutMs });
  const way = "Use Node 22.13, Bun 1.4, Deno 2.5 or newer, or another store.";
  throw new LatchkeyError("store-unsuitable", `This runtime has no node:sqlite. ${way}`);
}

/** Makes a folder and those above it. One by one: Node's recursive form never ends below /proc. */
export function makeFolder(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if (!existsSync(path)) throw error; // another process has made it meanwhile
  }
}

function prepare(database: DatabaseSync): void {
  const version = Number(pragma(database, "user_version"));
  if (version > schemaVersion) {
    throw new LatchkeyError(
      "store-unsuitable",
      `The database has schema ${version}, newer than ${schemaVersion}. Install a newer Latchkey.`,
    );
  }
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
  database.exec(`BEGIN IMMEDIATE; ${schema} COMMIT;`);
  // Asked after the first write: some builds fall back to NORMAL there without a word, and then
  // acknowledged records die in a power cut.
  if (Number(pragma(database, "synchronous")) < 2) {
    throw new LatchkeyError(
      "store-unsuitable",
      "This SQLite build does not keep synchronous=FULL. Use another build of Node.",
    );
  }
  database.exec("PRAGMA busy_timeout = 0;"); // from here waiting must not block the event loop
}

function pragma(database: DatabaseSync, name: string): unknown {
  return database.prepare(`PRAGMA ${name}`).get()?.[name];
}

/** Whether another process holds the write lock. */
export function isBusy(error: unknown): boolean {
  return codeOf(error) === 5;
}

/** An error of SQLite or the file system in the contract's words. */
export function storeError(error: unknown): LatchkeyError {
  if (isLatchkeyError(error)) return error;
  if (codeOf(error) === 13) {
    const message = "The disk of the SQLite store is full. Free some space; claims are refused.";
    return new LatchkeyError("store-full", message, { cause: error });
  }
  const what = error instanceof Error ? error.message : String(error);
  return new LatchkeyError(
    "store-unavailable",
    `The SQLite store cannot be used: ${what}. Check the path and its permissions.`,
    { cause: error, retryAfterMs: 1000 },
  );
}

function codeOf(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | undefined)?.errcode;
  return typeof code === "number" ? code & 0xff : undefined;
}
