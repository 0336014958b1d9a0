/**
 * Records and notes of a Redis, page by page, for operators: SCAN, never KEYS, and a bounded number
 * of its steps for each page. Notes are keys of their own beside the records.
 */
import { isLatchkeyError } from "../../errors.ts";
import type { RecordId, StoredRecord } from "../../machine/record.ts";
import { noteRetentionMs, pageLimit, recordPage } from "../listing.ts";
import type { Found } from "../listing.ts";
import type { ListQuery, Note, NotePage, NoteReason, PageQuery, RecordPage } from "../store.ts";
import type { Send } from "./client.ts";

/** Most SCAN steps of one page, each of as many keys as the page may have. */
const mostSteps = 20;
const reasons: readonly NoteReason[] = ["result-not-recorded", "lease-lost", "bypassed"];

export interface Listing {
  readonly send: Send;
  readonly prefix: string;
  /** A record without the bytes of its results; `undefined` when absent or of another state. */
  readonly head: (
    id: RecordId,
    state: StoredRecord["state"] | undefined,
  ) => Promise<StoredRecord | undefined>;
}

/** A page of records; it may be short or empty and still have a next one. */
export async function listRecords(listing: Listing, query: ListQuery): Promise<RecordPage> {
  const { prefix, head } = listing;
  const found: Found[] = [];
  const next = await scan(listing, query, async (names) => {
    // Notes have a colon in their names; record ids have none.
    const ids = names.map((name) => name.slice(prefix.length)).filter((id) => !id.includes(":"));
    const all = ids.map((id) => read(id as RecordId, (one) => head(one, query.state)));
    found.push(...(await Promise.all(all)).flat());
    return found.length;
  });
  return recordPage(found, next);
}

/** A page of notes. */
export async function listNotes(listing: Listing, query: PageQuery): Promise<NotePage> {
  const { send, prefix } = listing;
  const notes: NotePage["notes"][number][] = [];
  const next = await scan({ ...listing, prefix: `${prefix}note:` }, query, async (names) => {
    const texts = await Promise.all(names.map((name) => send("GET", [name])));
    for (const text of texts) {
      if (!(text instanceof Uint8Array)) continue; // it expired since the scan
      notes.push(JSON.parse(Buffer.from(text).toString()) as NotePage["notes"][number]);
    }
    return notes.length;
  });
  return next === undefined ? { notes } : { notes, next };
}

/** Keeps a note for 30 days, dated by the server's clock. */
export async function writeNote({ send, prefix }: Listing, note: Note): Promise<void> {
  const [seconds, microseconds] = (await send("TIME", [])) as readonly unknown[];
  const atMs = Number(String(seconds)) * 1000 + Math.floor(Number(String(microseconds)) / 1000);
  const { id, reason, operation } = note;
  const text = JSON.stringify({ id, reason, operation, atMs });
  await send("SET", [noteKey(prefix, id, reason), text, "PX", String(noteRetentionMs)]);
}

/** Deletes the notes on a record. */
export async function dismissNotes({ send, prefix }: Listing, id: RecordId): Promise<number> {
  const deleted = await Promise.all(
    reasons.map((reason) => send("DEL", [noteKey(prefix, id, reason)])),
  );
  return deleted.reduce<number>((total, count) => total + Number(count), 0);
}

function noteKey(prefix: string, id: RecordId, reason: NoteReason): string {
  return `${prefix}note:${id}:${reason}`;
}

// A record that cannot be read is told of, and must not hide the others.
async function read(
  id: RecordId,
  head: (id: RecordId) => Promise<StoredRecord | undefined>,
): Promise<readonly Found[]> {
  try {
    const record = await head(id);
    return record === undefined ? [] : [{ id, record }];
  } catch (error) {
    if (isLatchkeyError(error) && error.code === "store-corrupt") {
      return [{ id, record: undefined }];
    }
    throw error;
  }
}

/** Walks the keys of a prefix until `take` has a page; returns where to go on, if anywhere. */
async function scan(
  { send, prefix }: Listing,
  query: PageQuery,
  take: (names: readonly string[]) => Promise<number>,
): Promise<string | undefined> {
  const limit = pageLimit(query);
  const pattern = `${prefix.replaceAll(/[\\*?[\]^]/g, "\\$&")}*`;
  const seen = new Set<string>(); // SCAN may say a name twice
  let cursor = query.after ?? "0";
  for (let step = 0; step < mostSteps; step += 1) {
    const reply = await send("SCAN", [cursor, "MATCH", pattern, "COUNT", String(limit)]);
    const [next, names] = reply as readonly [unknown, readonly unknown[]];
    cursor = String(next);
    const fresh = names.map(String).filter((name) => !seen.has(name) && seen.add(name));
    const taken = await take(fresh);
    if (cursor === "0") return undefined;
    if (taken >= limit) break;
  }
  return cursor;
}
