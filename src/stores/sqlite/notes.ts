/** The notes on what somebody must look at, as rows of a table of their own. */
import type { DatabaseSync } from "node:sqlite";
import type { RecordId } from "../../machine/record.ts";
import { noteRetentionMs } from "../listing.ts";
import type { Note, NotePage } from "../store.ts";

type Noted = NotePage["notes"][number];

export interface Notes {
  write(note: Note, nowMs: number): void;
  /** Up to `limit` notes behind `after`, by record and reason. */
  list(after: string, limit: number): readonly Noted[];
  dismiss(id: RecordId): number;
  /** Forgets what is older than 30 days. */
  sweep(nowMs: number): void;
}

/** The name of a note in a page: what `after` takes. */
export function noteName({ id, reason }: Note): string {
  return `${id} ${reason}`;
}

/** The notes of a database, with their statements prepared once. */
export function notesOf(database: DatabaseSync): Notes {
  const upsert = database.prepare(
    "INSERT OR REPLACE INTO latchkey_notes (id, reason, operation, at_ms) VALUES (?, ?, ?, ?)",
  );
  const select = database.prepare(
    "SELECT id, reason, operation, at_ms AS atMs FROM latchkey_notes " +
      "WHERE (id, reason) > (?, ?) ORDER BY id, reason LIMIT ?",
  );
  const remove = database.prepare("DELETE FROM latchkey_notes WHERE id = ?");
  const sweep = database.prepare("DELETE FROM latchkey_notes WHERE at_ms <= ?");
  return {
    write: ({ id, reason, operation }, nowMs) => void upsert.run(id, reason, operation, nowMs),
    list: (after, limit) => {
      const cut = after.lastIndexOf(" ");
      const [id, reason] = [after.slice(0, Math.max(0, cut)), after.slice(cut + 1)];
      return select.all(id, reason, limit) as unknown as readonly Noted[];
    },
    dismiss: (id) => Number(remove.run(id).changes),
    sweep: (nowMs) => void sweep.run(nowMs - noteRetentionMs),
  };
}
