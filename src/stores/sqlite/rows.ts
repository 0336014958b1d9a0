/** Records as rows: the result as a BLOB, everything else as one JSON text beside its expiry. */
import type { DatabaseSync } from "node:sqlite";
import { LatchkeyError } from "../../errors.ts";
import type { RecordId, Steps, StoredRecord } from "../../machine/record.ts";
import { doubtedFromMs, seenAt } from "../../machine/transition.ts";
import type { Found } from "../listing.ts";
import type { ListQuery } from "../store.ts";

export interface Rows {
  read(id: RecordId): StoredRecord | undefined;
  write(id: RecordId, record: StoredRecord): void;
  remove(id: RecordId): boolean;
  /** Up to `limit` rows behind `after` that are kept at `nowMs`, by id. */
  list(query: ListQuery, limit: number, nowMs: number): readonly Found[];
  sweep(nowMs: number, limit: number): number;
}

/** The table of a database, with its statements prepared once. */
export function rowsOf(database: DatabaseSync): Rows {
  const select = database.prepare("SELECT * FROM latchkey_records WHERE id = ?");
  const upsert = database.prepare(
    "INSERT OR REPLACE INTO latchkey_records (id, expires_at_ms, state, doubt_at_ms, " +
      "fields, result) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const remove = database.prepare("DELETE FROM latchkey_records WHERE id = ?");
  const sweep = database.prepare(
    "DELETE FROM latchkey_records WHERE id IN " +
      "(SELECT id FROM latchkey_records WHERE expires_at_ms <= ? LIMIT ?)",
  );
  const listOf = (state?: StoredRecord["state"]) =>
    database.prepare(
      "SELECT id, fields, x'' AS result FROM latchkey_records " +
        `WHERE id > :after AND expires_at_ms > :now ${inState(state)} ORDER BY id LIMIT :limit`,
    );
  return {
    read: (id) => {
      const row = select.get(id);
      if (row === undefined) return undefined;
      return recordOf(row) ?? fail();
    },
    write: (id, record) => {
      const { result, steps, ...fields } = { result: undefined, steps: undefined, ...record };
      const text = JSON.stringify(
        steps === undefined ? fields : { ...fields, steps: toText(steps) },
      );
      const { expiresAtMs, state } = record;
      upsert.run(id, expiresAtMs, state, doubtedFromMs(record) ?? null, text, result ?? null);
    },
    remove: (id) => remove.run(id).changes > 0,
    list: ({ state, after = "" }, limit, nowMs) =>
      listOf(state)
        .all({ after, limit, now: nowMs })
        .map((row) => ({ id: row["id"] as RecordId, record: seenAt(recordOf(row), nowMs) })),
    sweep: (nowMs, limit) => Number(sweep.run(nowMs, limit).changes),
  };
}

// The condition stands in the text, so that SQLite sees that its index on doubts serves. A record
// that was in doubt once stays so, also when the clock goes back.
function inState(state: StoredRecord["state"] | undefined): string {
  const isDoubted = "(state = 'in-doubt' OR doubt_at_ms <= :now)";
  switch (state) {
    case undefined:
      return "";
    case "in-doubt":
      return `AND doubt_at_ms IS NOT NULL AND ${isDoubted}`;
    case "in-progress":
      return "AND state = 'in-progress' AND (doubt_at_ms IS NULL OR doubt_at_ms > :now)";
    case "completed":
    case "released":
      return `AND state = '${state}'`;
  }
  throw new TypeError(`There is no state ${JSON.stringify(state)}.`);
}

// A row nobody can read is locked, never free.
function fail(): never {
  throw new LatchkeyError(
    "store-corrupt",
    "A record in the SQLite store cannot be read. Restore the file, or forget the record.",
  );
}

/** The record of a row; `undefined` unless every field that its state needs is there. */
function recordOf(row: Record<string, unknown>): StoredRecord | undefined {
  const { steps, ...fields } = { steps: undefined, ...parse(row["fields"]) };
  const record = { ...fields, ...stepsOf(steps), ...resultOf(row["result"], fields) };
  return isRecord(record) ? record : undefined;
}

const shapes: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "in-progress": {
    leaseEndsAtMs: "number",
    leaseMs: "number",
    retentionMs: "number",
    onAbandoned: "string",
    committed: "boolean",
    takeover: "boolean",
  },
  completed: { completedAtMs: "number", result: "object" },
  released: {},
  "in-doubt": { committed: "boolean", doubtedAtMs: "number" },
};
const base = {
  fingerprint: "string",
  operation: "string",
  owner: "string",
  fence: "number",
  attempt: "number",
  claimedAtMs: "number",
  expiresAtMs: "number",
};

function isRecord(fields: object): fields is StoredRecord {
  const shape = shapes[String(Reflect.get(fields, "state"))];
  if (shape === undefined) return false;
  const wanted = Object.entries({ ...base, ...shape });
  return wanted.every(([name, type]) => typeof Reflect.get(fields, name) === type);
}

function resultOf(result: unknown, fields: object): { readonly result?: Uint8Array } {
  const isCompleted = Reflect.get(fields, "state") === "completed";
  return isCompleted && result instanceof Uint8Array ? { result } : {};
}

// Bytes stand in the JSON as base64.
function toText(steps: Steps): object {
  const texts = Object.entries(steps).map(([name, result]) => [name, toBase64(result)]);
  return Object.fromEntries(texts) as object;
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

function stepsOf(texts: unknown): { readonly steps?: Steps } {
  if (texts === undefined) return {};
  const steps = Object.entries(texts as object).map(([name, text]): [string, Uint8Array] => [
    name,
    new Uint8Array(Buffer.from(String(text), "base64")),
  ]);
  return { steps: Object.fromEntries(steps) };
}

function parse(text: unknown): object | undefined {
  try {
    return JSON.parse(String(text)) as object;
  } catch {
    return undefined; // the caller reports the record as corrupt
  }
}
