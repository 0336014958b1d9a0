/**
 * The memory store: a Map and `transition()`. For tests, for reading, and for one process that may
 * forget everything when it ends. It is bounded: at its limit it sweeps, then refuses new keys
 * instead of evicting live ones.
 */
import { LatchkeyError } from "../errors.ts";
import type { Command, RecordId, ReplyTo, StoredRecord } from "../machine/record.ts";
import { isOver, seenAt, transition } from "../machine/transition.ts";
import { noteRetentionMs, pageLimit, pageOf, recordPage } from "./listing.ts";
import type { Note, NotePage, PageQuery, Store } from "./store.ts";
import { createWatchers, freesWaiters } from "./watchers.ts";

export interface MemoryStoreOptions {
  /**
   * Most records kept at a time. Default 100 000; beyond it a claim of a new key rejects with
   * `store-full`.
   */
  readonly maxRecords?: number;
  /** The store's clock, ms since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** A store in this process's memory. */
export function memoryStore(options: MemoryStoreOptions = {}): Store {
  const maxRecords = options.maxRecords ?? 100_000;
  if (!Number.isInteger(maxRecords) || maxRecords < 1) {
    throw new TypeError(`maxRecords must be a positive whole number; got ${maxRecords}.`);
  }
  const now = options.now ?? Date.now;
  const records = new Map<RecordId, StoredRecord>();
  const notes = createNotes(now);
  const watchers = createWatchers();

  function sweep(limit: number): number {
    const nowMs = now();
    let swept = 0;
    for (const [id, record] of records) {
      if (swept >= limit) break;
      if (isOver(record, nowMs) && records.delete(id)) swept += 1;
    }
    notes.sweep();
    return swept;
  }

  async function apply<K extends Command["kind"]>(
    id: RecordId,
    command: Extract<Command, { readonly kind: K }>,
  ): Promise<ReplyTo[K]> {
    if (command.kind === "claim" && !records.has(id) && records.size >= maxRecords) {
      if (sweep(maxRecords) === 0) throw full(maxRecords);
    }
    const before = records.get(id);
    const { next, reply } = transition<K>(before, command, now());
    if (next !== undefined) records.set(id, next);
    if (freesWaiters(before, next)) watchers.nudge(id);
    return reply;
  }

  return {
    name: "memory",
    claim: (id, claim) => apply(id, { kind: "claim", ...claim }),
    renew: (id, owner, leaseMs) => apply(id, { kind: "renew", owner, leaseMs }),
    commit: (id, owner) => apply(id, { kind: "commit", owner }),
    step: (id, { owner, name, result }) =>
      apply(id, { kind: "step", owner, name, result: result.slice() }),
    complete: (id, { owner, result, retentionMs }) =>
      apply(id, { kind: "complete", owner, result: result.slice(), retentionMs }),
    release: (id, owner) => apply(id, { kind: "release", owner }),
    resolve: (id, word) => apply(id, { kind: "resolve", ...word }),
    get: async (id) => seenAt(records.get(id), now()),
    list: async (query = {}) => {
      const { state } = query;
      const nowMs = now();
      const all = [...records].flatMap(([id, stored]) => {
        const record = seenAt(stored, nowMs);
        const isAsked = record !== undefined && (state ?? record.state) === record.state;
        return isAsked ? [[id, { id, record }] as const] : [];
      });
      const { entries, next } = pageOf(behind(all, query), pageLimit(query), ({ id }) => id);
      return recordPage(entries, next);
    },
    note: notes.note,
    attention: notes.attention,
    dismiss: notes.dismiss,
    watch: async (id, onNudge) => watchers.add(id, onNudge),
    forget: async (id) => records.delete(id),
    sweep: async (limit = 1000) => sweep(limit),
    check: async () => {},
    close: async () => {},
  };
}

/** The list of what somebody must look at. */
function createNotes(
  now: () => number,
): Pick<Store, "note" | "attention" | "dismiss"> & { readonly sweep: () => void } {
  const notes = new Map<string, NotePage["notes"][number]>();
  const nameOf = ({ id, reason }: Note): string => `${id} ${reason}`;
  return {
    note: async (note) => void notes.set(nameOf(note), { ...note, atMs: now() }),
    attention: async (query = {}) => {
      const { entries, ...rest } = pageOf(behind(notes, query), pageLimit(query), nameOf);
      return { notes: entries, ...rest };
    },
    dismiss: async (id) =>
      [...notes].filter(([name, note]) => note.id === id && notes.delete(name)).length,
    sweep: () => {
      for (const [name, { atMs }] of notes) {
        if (atMs + noteRetentionMs <= now()) notes.delete(name);
      }
    },
  };
}

/** What stands behind `after`, in the order of its names. */
function behind<Value>(
  all: Iterable<readonly [string, Value]>,
  { after = "" }: PageQuery,
): readonly Value[] {
  const rest = [...all].filter(([name]) => name > after);
  return rest.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

function full(maxRecords: number): LatchkeyError {
  return new LatchkeyError(
    "store-full",
    `The memory store is full at ${maxRecords} records. Raise maxRecords, or use SQLite or Redis.`,
  );
}
