/**
 * The SQLite store: the embedded default, durable and shared by processes on one host. Each flush of
 * commands runs `transition()` inside one immediate transaction (group commit); rows are in
 * `rows.ts`, opening and schema in `database.ts`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { LatchkeyError } from "../../errors.ts";
import type { Command, RecordId, ReplyTo, StoredRecord } from "../../machine/record.ts";
import { isOver, transition } from "../../machine/transition.ts";
import type { Store } from "../store.ts";
import { isBusy, openDatabase, storeError } from "./database.ts";
import { rowsOf } from "./rows.ts";

export interface SqliteStoreOptions {
  /** The store's clock, ms since the epoch. Default `Date.now`: all processes are on one host. */
  readonly now?: () => number;
  /** How long a command waits for another process's transaction, ms. Default 1500. */
  readonly busyMs?: number;
}

interface Job {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Opens (and creates) a store in the file at `path`, or `":memory:"`. Throws `store-unavailable` when
 * the file cannot be opened and `store-unsuitable` when a newer version of Latchkey wrote it.
 */
export function sqliteStore(path: string, options: SqliteStoreOptions = {}): Store {
  const now = options.now ?? Date.now;
  const busyMs = options.busyMs ?? 1500;
  const database = openDatabase(path);
  const rows = rowsOf(database);
  let queue: Job[] = [];
  let flushing: Promise<void> | undefined;
  const sweeper = setInterval(
    () => void enqueue(() => rows.sweep(now(), 1000)).catch(quiet),
    60_000,
  );
  sweeper.unref();

  function enqueue<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      queue.push({ work, resolve: resolve as (value: unknown) => void, reject });
      flushing ??= new Promise<void>((done) => setImmediate(done)).then(flush);
    });
  }

  // All commands that came in one turn share a transaction, and with it the fsync.
  async function flush(): Promise<void> {
    while (queue.length > 0) {
      const jobs = queue;
      queue = [];
      await runBatch(jobs);
    }
    flushing = undefined;
  }

  async function runBatch(jobs: readonly Job[]): Promise<void> {
    const untilMs = performance.now() + busyMs;
    for (;;) {
      try {
        for (const settle of inTransaction(jobs)) settle();
        return;
      } catch (error) {
        if (!isBusy(error) || performance.now() > untilMs) {
          for (const job of jobs) job.reject(storeError(error));
          return;
        }
      }
      await sleep(2 + Math.random() * 8);
    }
  }

  // Replies leave only after the commit. A record that cannot be read fails its own command alone.
  function inTransaction(jobs: readonly Job[]): readonly (() => void)[] {
    database.exec("BEGIN IMMEDIATE");
    try {
      const settles = jobs.map((job) => runJob(job));
      database.exec("COMMIT");
      return settles;
    } catch (error) {
      if (database.isTransaction) database.exec("ROLLBACK");
      throw error;
    }
  }

  function apply<K extends Command["kind"]>(
    id: RecordId,
    command: Extract<Command, { readonly kind: K }>,
  ): Promise<ReplyTo[K]> {
    return enqueue(() => {
      const before = rows.read(id);
      const { next, reply } = transition<K>(before, command, now());
      if (next !== undefined && next !== before) rows.write(id, next);
      return reply;
    });
  }

  return {
    name: "sqlite",
    claim: (id, claim) => apply(id, { kind: "claim", ...claim }),
    renew: (id, owner, leaseMs) => apply(id, { kind: "renew", owner, leaseMs }),
    commit: (id, owner) => apply(id, { kind: "commit", owner }),
    complete: (id, completion) => apply(id, { kind: "complete", ...completion }),
    release: (id, owner) => apply(id, { kind: "release", owner }),
    resolve: (id, outcome) => apply(id, { kind: "resolve", outcome }),
    get: (id) =>
      enqueue((): StoredRecord | undefined => {
        const record = rows.read(id);
        return isOver(record, now()) ? undefined : record;
      }),
    forget: (id) => enqueue(() => rows.remove(id)),
    sweep: (limit = 1000) => enqueue(() => rows.sweep(now(), limit)),
    check: () => enqueue(() => undefined),
    close: async () => {
      clearInterval(sweeper);
      await flushing;
      if (database.isOpen) database.close();
    },
  };
}

function runJob(job: Job): () => void {
  try {
    const value = job.work();
    return () => job.resolve(value);
  } catch (error) {
    if (error instanceof LatchkeyError) return () => job.reject(error);
    throw error;
  }
}

// Sweeping is housekeeping: the next round tries again, and claims report the same fault themselves.
function quiet(): void {}
