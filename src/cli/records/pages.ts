/** Records and notes of a store over as many pages as were asked for. */
import type { RecordId, StoredRecord } from "../../machine/record.ts";
import type { ListedRecord, NotePage, Store } from "../../stores/store.ts";

/** A record of a list; without one it cannot be read. */
export interface Row {
  readonly id: RecordId;
  readonly record: ListedRecord | undefined;
}

interface PagesQuery {
  readonly limit: number;
  readonly after?: string | undefined;
}
interface RecordsQuery extends PagesQuery {
  readonly state?: StoredRecord["state"] | undefined;
}

/** Records of as many pages as it takes: one may be short, or empty, and not the last. */
export async function recordsOf(
  store: Store,
  { limit, state, after }: RecordsQuery,
): Promise<{ readonly rows: readonly Row[]; readonly next: string | undefined }> {
  const rows: Row[] = [];
  let next = after;
  do {
    const page = await store.list({
      limit: limit - rows.length,
      ...(state === undefined ? {} : { state }),
      ...(next === undefined ? {} : { after: next }),
    });
    rows.push(...page.records, ...page.unreadable.map((id) => ({ id, record: undefined })));
    ({ next } = page);
  } while (next !== undefined && rows.length < limit);
  return { rows, next };
}

/** Notes, likewise. */
export async function notesOf(
  store: Store,
  { limit, after }: PagesQuery,
): Promise<{ readonly notes: NotePage["notes"]; readonly next: string | undefined }> {
  const notes: NotePage["notes"][number][] = [];
  let next = after;
  do {
    const left = { limit: limit - notes.length };
    const page = await store.attention(next === undefined ? left : { ...left, after: next });
    notes.push(...page.notes);
    ({ next } = page);
  } while (next !== undefined && notes.length < limit);
  return { notes, next };
}
