/**
 * The SQLite store: the embedded default, durable and shared by processes on one host. Each flush
 * of commands runs `transition()` inside one immediate transaction (group commit); rows are in
 * `rows.ts`, opening and schema in `database.ts`.
 */
import type { Command, RecordId, ReplyTo, StoredRecord } from "../../machine/record.ts";
import { isOver, transition } from "../../machine/transition.ts";
import { pageLimit, pageOf, recordPage } from "../listing.ts";
import type { ListQuery, NotePage, PageQuery, RecordPage, Store } from "../store.ts";
import { createBatches } from "./batch.ts";
import { openDatabase } from "./database.ts";
import { noteName, notesOf } from "./notes.ts";
import { freesWaiters } from "../watchers.ts";
import { rowsOf } from "./rows.ts";
import { watchOver } from "./watch.ts";

export interface SqliteStoreOptions {
  /** The store's clock, ms since the epoch. Default `Date.now`: all processes are on one host. */
  readonly now?: () => number;
  /** How long a command waits for another process's transaction, ms. Default 1500. */
  readonly busyMs?: number;
}

/**
 * Opens (and creates) a store in the file at `path`, or `":memory:"`. Throws `store-unavailable`
 * when the file cannot be opened and `store-unsuitable` when a newer version of Latchkey wrote it.
 */
export function sqliteStore(path: string, options: SqliteStoreOptions = {}): Store {
  const now = options.now ?? Date.now;
  const busyMs = options.busyMs ?? 1500;
  const database = openDatabase(path);
  const rows = rowsOf(database);
  const { enqueue, idle } = createBatches(database, busyMs);
  const notes = notesOf(database);
  const watch = watchOver(database, (id) => rows.read(id));
  const sweep = (limit: number) =>
    enqueue(() => {
      notes.sweep(now());
      return rows.sweep(now(), limit);
    });
  // Housekeeping: what fails now is swept in the next round, and claims report the same fault.
  const sweeper = setInterval(() => void sweep(1000).catch(() => undefined), 60_000).unref();

  async function apply<K extends Command["kind"]>(
    id: RecordId,
    command: Extract<Command, { readonly kind: K }>,
  ): Promise<ReplyTo[K]> {
    const { reply, freed } = await enqueue(() => {
      const before = rows.read(id);
      const { next, reply } = transition<K>(before, command, now());
      if (next !== undefined && next !== before) rows.write(id, next);
      return { reply, freed: freesWaiters(before, next) };
    });
    if (freed) watch.nudge(id);
    return reply;
  }

  return {
    name: "sqlite",
    claim: (id, claim) => apply(id, { kind: "claim", ...claim }),
    renew: (id, owner, leaseMs) => apply(id, { kind: "renew", owner, leaseMs }),
    commit: (id, owner) => apply(id, { kind: "commit", owner }),
    step: (id, step) => apply(id, { kind: "step", ...step }),
    complete: (id, completion) => apply(id, { kind: "complete", ...completion }),
    release: (id, owner) => apply(id, { kind: "release", owner }),
    resolve: (id, word) => apply(id, { kind: "resolve", ...word }),
    get: (id) =>
      enqueue((): StoredRecord | undefined => {
        const record = rows.read(id);
        return isOver(record, now()) ? undefined : record;
      }),
    list: async (query: ListQuery = {}): Promise<RecordPage> => {
      const limit = pageLimit(query);
      const found = await enqueue(() => rows.list(query, limit + 1, now()));
      const { entries, next } = pageOf(found, limit, ({ id }) => id);
      return recordPage(entries, next);
    },
    note: (note) => enqueue(() => notes.write(note, now())),
    attention: async (query: PageQuery = {}): Promise<NotePage> => {
      const limit = pageLimit(query);
      const found = await enqueue(() => notes.list(query.after ?? "", limit + 1));
      const { entries, ...rest } = pageOf(found, limit, noteName);
      return { notes: entries, ...rest };
    },
    dismiss: (id) => enqueue(() => notes.dismiss(id)),
    watch: watch.watch,
    forget: (id) => enqueue(() => rows.remove(id)),
    sweep: (limit = 1000) => sweep(limit),
    check: () => enqueue(() => undefined),
    close: async () => {
      clearInterval(sweeper);
      watch.close();
      await idle();
      if (database.isOpen) database.close();
    },
  };
}
