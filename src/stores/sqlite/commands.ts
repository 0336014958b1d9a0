/**
 * The commands of the contract on one connection: each is `transition()` on a row, inside whatever
 * transaction its caller puts it in.
 */
import type { DatabaseSync } from "node:sqlite";
import type { Command, RecordId, ReplyTo, StoredRecord } from "../../machine/record.ts";
import { seenAt, transition } from "../../machine/transition.ts";
import { pageLimit, pageOf, recordPage } from "../listing.ts";
import type { ListQuery, NotePage, PageQuery, RecordPage, Store } from "../store.ts";
import { freesWaiters } from "../watchers.ts";
import { noteName, notesOf } from "./notes.ts";
import { rowsOf } from "./rows.ts";

export interface CommandsOptions {
  readonly database: DatabaseSync;
  /** Runs a command in a transaction; resolves when its reply may leave. */
  readonly run: <T>(work: () => T) => Promise<T>;
  /** The store's clock, ms since the epoch. */
  readonly now: () => number;
  /** A record no longer holds its waiters up. */
  readonly onFreed?: (id: RecordId) => void;
}

export type Commands = Omit<Store, "name" | "isTransaction" | "within" | "watch" | "close">;

/** The commands over a database. */
export function commandsOn({ database, run, now, onFreed }: CommandsOptions): Commands {
  const rows = rowsOf(database);
  const notes = notesOf(database);

  async function apply<K extends Command["kind"]>(
    id: RecordId,
    command: Extract<Command, { readonly kind: K }>,
  ): Promise<ReplyTo[K]> {
    const { reply, freed } = await run(() => {
      const before = rows.read(id);
      const { next, reply } = transition<K>(before, command, now());
      if (next !== undefined && next !== before) rows.write(id, next);
      return { reply, freed: freesWaiters(before, next) };
    });
    if (freed) onFreed?.(id);
    return reply;
  }

  return {
    claim: (id, claim) => apply(id, { kind: "claim", ...claim }),
    renew: (id, owner, leaseMs) => apply(id, { kind: "renew", owner, leaseMs }),
    commit: (id, owner) => apply(id, { kind: "commit", owner }),
    step: (id, step) => apply(id, { kind: "step", ...step }),
    complete: (id, completion) => apply(id, { kind: "complete", ...completion }),
    release: (id, owner) => apply(id, { kind: "release", owner }),
    resolve: (id, word) => apply(id, { kind: "resolve", ...word }),
    get: (id) => run((): StoredRecord | undefined => seenAt(rows.read(id), now())),
    list: async (query: ListQuery = {}): Promise<RecordPage> => {
      const limit = pageLimit(query);
      const found = await run(() => rows.list(query, limit + 1, now()));
      const { entries, next } = pageOf(found, limit, ({ id }) => id);
      return recordPage(entries, next);
    },
    note: (note) => run(() => notes.write(note, now())),
    attention: async (query: PageQuery = {}): Promise<NotePage> => {
      const limit = pageLimit(query);
      const found = await run(() => notes.list(query.after ?? "", limit + 1));
      const { entries, ...rest } = pageOf(found, limit, noteName);
      return { notes: entries, ...rest };
    },
    dismiss: (id) => run(() => notes.dismiss(id)),
    forget: (id) => run(() => rows.remove(id)),
    sweep: (limit = 1000) =>
      run(() => {
        notes.sweep(now());
        return rows.sweep(now(), limit);
      }),
    check: () => run(() => undefined),
  };
}
