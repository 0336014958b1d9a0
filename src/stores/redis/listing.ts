/**
 * Records and notes of a Redis, page by page, for operators: SCAN, never KEYS, master after master,
 * and a bounded number of its steps for each page. Notes are keys of their own beside the records.
 */
import { isLatchkeyError } from "../../errors.ts";
import type { RecordId, StoredRecord } from "../../machine/record.ts";
import { noteRetentionMs, pageLimit, recordPage } from "../listing.ts";
import type { Found } from "../listing.ts";
import type { ListQuery, Note, NotePage, NoteReason, PageQuery, RecordPage } from "../store.ts";
import type { Link, LinkedMaster } from "./client.ts";
import { plainReply } from "./replies.ts";
import type { Reply } from "./replies.ts";

/** Most SCAN steps of one page, each of as many keys as the page may have. */
const mostSteps = 20;
const reasons: readonly NoteReason[] = ["result-not-recorded", "lease-lost", "bypassed"];

export interface Listing {
  readonly link: Link;
  readonly prefix: string;
  /** Runs `note.lua` on a key. */
  readonly writeNote: (key: string, args: readonly string[]) => Promise<Reply>;
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
  const { prefix } = listing;
  const { send } = listing.link;
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
export async function writeNote(listing: Listing, note: Note): Promise<void> {
  const { id, reason, operation } = note;
  const key = noteKey(listing.prefix, id, reason);
  const reply = await listing.writeNote(key, [id, reason, operation, String(noteRetentionMs)]);
  plainReply(reply, ["noted"]);
}

/** Deletes the notes on a record. */
export async function dismissNotes({ link, prefix }: Listing, id: RecordId): Promise<number> {
  const deleted = await Promise.all(
    reasons.map((reason) => link.send("DEL", [noteKey(prefix, id, reason)])),
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
  { link, prefix }: Listing,
  query: PageQuery,
  take: (names: readonly string[]) => Promise<number>,
): Promise<string | undefined> {
  const limit = pageLimit(query);
  const pattern = `${(link.keyPrefix + prefix).replaceAll(/[\\*?[\]^]/g, "\\$&")}*`;
  const seen = new Set<string>(); // SCAN may say a name twice
  let place = await placeOf(link, query.after);
  for (let step = 0; place !== undefined; step += 1) {
    const args = [place.cursor, "MATCH", pattern, "COUNT", String(limit)];
    const reply = await place.master.send("SCAN", args);
    const [cursor, names] = reply as readonly [unknown, readonly unknown[]];
    const fresh = names.map((name) => String(name).slice(link.keyPrefix.length));
    const taken = await take(fresh.filter((name) => !seen.has(name) && seen.add(name)));
    place = String(cursor) === "0" ? place.behind : { ...place, cursor: String(cursor) };
    if (taken >= limit || step + 1 >= mostSteps) break;
  }
  return place && `${place.cursor}@${place.master.address}`;
}

/** A master, SCAN's cursor there, and the place after the last of its keys. */
interface Place {
  readonly master: LinkedMaster;
  readonly cursor: string;
  readonly behind: Place | undefined;
}

// Masters in the order of their addresses. Of one that is gone, a failover's, the rest is skipped.
async function placeOf(link: Link, after = "0@"): Promise<Place | undefined> {
  const [cursor = "", address = ""] = after.split("@", 2);
  if (!/^\d+$/.test(cursor)) throw new TypeError("after must be the `next` of an earlier page.");
  const masters = (await link.masters()).toSorted((a, b) => (a.address < b.address ? -1 : 1));
  const left = masters.filter((master) => master.address >= address);
  return left.reduceRight<Place | undefined>((behind, master) => {
    return { master, cursor: master.address === address ? cursor : "0", behind };
  }, undefined);
}
