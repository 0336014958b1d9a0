/** Records as rows: the result as a BLOB, everything else as one JSON text beside its expiry. */
import type { DatabaseSync } from "node:sqlite";
import { LatchkeyError } from "../../errors.ts";
import type { RecordId, StoredRecord } from "../../machine/record.ts";

export interface Rows {
  read(id: RecordId): StoredRecord | undefined;
  write(id: RecordId, record: StoredRecord): void;
  remove(id: RecordId): boolean;
  sweep(nowMs: number, limit: number): number;
}

/** The table of a database, with its statements prepared once. */
export function rowsOf(database: DatabaseSync): Rows {
  const select = database.prepare("SELECT * FROM latchkey_records WHERE id = ?");
  const upsert = database.prepare(
    "INSERT OR REPLACE INTO latchkey_records (id, expires_at_ms, state, fields, result) " +
      "VALUES (?, ?, ?, ?, ?)",
  );
  const remove = database.prepare("DELETE FROM latchkey_records WHERE id = ?");
  const sweep = database.prepare(
    "DELETE FROM latchkey_records WHERE id IN " +
      "(SELECT id FROM latchkey_records WHERE expires_at_ms <= ? LIMIT ?)",
  );
  return {
    read: (id) => {
      const row = select.get(id);
      return row === undefined ? undefined : fromRow(row);
    },
    write: (id, record) => {
      const { result, ...fields } = { result: undefined, ...record };
      const blob = result ?? null;
      upsert.run(id, record.expiresAtMs, record.state, JSON.stringify(fields), blob);
    },
    remove: (id) => remove.run(id).changes > 0,
    sweep: (nowMs, limit) => Number(sweep.run(nowMs, limit).changes),
  };
}

// A row nobody can read is locked, never free: every field its state needs must be there.
function fromRow(row: Record<string, unknown>): StoredRecord {
  const fields = { ...parse(row["fields"]), ...resultOf(row["result"]) };
  if (isRecord(fields)) return fields;
  throw new LatchkeyError(
    "store-corrupt",
    "A record in the SQLite store cannot be read. Restore the file, or forget the record.",
  );
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

function resultOf(result: unknown): { readonly result?: Uint8Array } {
  return result instanceof Uint8Array ? { result } : {};
}

function parse(text: unknown): object | undefined {
  try {
    return JSON.parse(String(text)) as object;
  } catch {
    return undefined; // the caller reports the record as corrupt
  }
}
