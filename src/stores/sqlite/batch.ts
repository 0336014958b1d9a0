/** Group commit: jobs that come in one turn of the event loop share one immediate transaction. */
import type { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { isLatchkeyError } from "../../errors.ts";
import { isBusy, storeError } from "./database.ts";

interface Job {
  readonly work: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}
export interface Batches {
  /** Runs `work` in the next transaction; resolves after its commit. */
  readonly enqueue: <T>(work: () => T) => Promise<T>;
  /** Resolves when nothing is waiting. */
  readonly idle: () => Promise<void>;
}

/** Batches over a database; another process's transaction is waited for up to `busyMs`. */
export function createBatches(database: DatabaseSync, busyMs: number): Batches {
  let queue: Job[] = [];
  let flushing: Promise<void> | undefined;

  async function flush(): Promise<void> {
    while (queue.length > 0) {
      // One turn of the event loop each time: commands gather, and sockets and timers get theirs.
      await new Promise<void>((turn) => setImmediate(turn));
      const jobs = queue;
      queue = [];
      await runBatch(database, jobs, performance.now() + busyMs);
    }
    flushing = undefined;
  }

  return {
    enqueue: <T>(work: () => T) =>
      new Promise<T>((resolve, reject) => {
        queue.push({ work, resolve: resolve as (value: unknown) => void, reject });
        flushing ??= flush();
      }),
    idle: async () => flushing,
  };
}

async function runBatch(
  database: DatabaseSync,
  jobs: readonly Job[],
  untilMs: number,
): Promise<void> {
  for (;;) {
    try {
      for (const settle of inTransaction(database, jobs)) settle();
      return;
    } catch (error) {
      if (!isBusy(error) || performance.now() > untilMs) return rejectAll(jobs, error);
    }
    await sleep(2 + Math.random() * 8);
  }
}

// Replies leave only after the commit; a failed commit fails every job in it.
function inTransaction(database: DatabaseSync, jobs: readonly Job[]): readonly (() => void)[] {
  database.exec("BEGIN IMMEDIATE");
  try {
    const settles = jobs.map(runJob);
    database.exec("COMMIT");
    return settles;
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

// A record that cannot be read fails its own command alone: it has written nothing.
function runJob({ work, resolve, reject }: Job): () => void {
  try {
    const value = work();
    return () => resolve(value);
  } catch (error) {
    if (isLatchkeyError(error)) return () => reject(error);
    throw error;
  }
}

function rejectAll(jobs: readonly Job[], error: unknown): void {
  for (const { reject } of jobs) reject(storeError(error));
}
