/**
 * What the stores share in listing for operators: page sizes, records without their bytes, and how
 * long a note is kept.
 */
import type { RecordId, StoredRecord } from "../machine/record.ts";
import type { ListedRecord, PageQuery, RecordPage } from "./store.ts";

/** How long a note is kept, in ms: 30 days. */
export const noteRetentionMs = 2_592_000_000;

/** The page size a query asks for; throws `TypeError` outside 1 to 1000. */
export function pageLimit({ limit = 100 }: PageQuery): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1000) return limit;
  throw new TypeError(`limit must be a whole number from 1 to 1000; got ${String(limit)}.`);
}

/** A stored record by its name; without one it cannot be read. */
export interface Found {
  readonly id: RecordId;
  readonly record: StoredRecord | undefined;
}

/** A page of records without the bytes of their results. */
export function recordPage(found: readonly Found[], next?: string): RecordPage {
  const records = found.flatMap(({ id, record }) =>
    record === undefined ? [] : [{ id, record: listed(record) }],
  );
  const unreadable = found.filter(({ record }) => record === undefined).map(({ id }) => id);
  return { records, unreadable, ...(next === undefined ? {} : { next }) };
}

function listed(record: StoredRecord): ListedRecord {
  if (record.state === "completed") {
    const { result: _, ...rest } = record;
    return rest;
  }
  const { steps: _, ...rest } = record;
  return rest;
}

/**
 * The first entries of what came when one more than a page was asked for, and the name of the last
 * as `next` where there is more.
 */
export function pageOf<Entry>(
  found: readonly Entry[],
  limit: number,
  nameOf: (entry: Entry) => string,
): { readonly entries: readonly Entry[]; readonly next?: string } {
  const entries = found.slice(0, limit);
  const last = entries.at(-1);
  return found.length > limit && last !== undefined ? { entries, next: nameOf(last) } : { entries };
}
