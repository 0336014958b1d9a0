/** Transactions on a connection of node:sqlite, one after the other. */
import type { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { isBusy } from "../database.ts";

/**
 * Runs work in immediate transactions of a connection: `transaction: beginOn(database)`. COMMIT
 * when the work resolves, ROLLBACK when it rejects. One at a time; another process's transaction is
 * waited for up to `busyMs` (default 1500). Nothing else may use the connection meanwhile.
 */
export function beginOn(
  database: DatabaseSync,
  { busyMs = 1500 }: { readonly busyMs?: number } = {},
): (work: (database: DatabaseSync) => Promise<void>) => Promise<void> {
  let last: Promise<unknown> = Promise.resolve();
  database.exec("PRAGMA busy_timeout = 0;"); // waiting must not block the event loop
  async function transact(work: (database: DatabaseSync) => Promise<void>): Promise<void> {
    await persist(database, "BEGIN IMMEDIATE", busyMs);
    try {
      await work(database);
      await persist(database, "COMMIT", busyMs);
    } catch (error) {
      if (database.isTransaction) database.exec("ROLLBACK");
      throw error;
    }
  }
  return (work) => {
    const done = last.then(() => transact(work));
    last = done.catch(() => undefined); // told to its own caller
    return done;
  };
}

async function persist(database: DatabaseSync, statement: string, busyMs: number): Promise<void> {
  for (const untilMs = performance.now() + busyMs; ;) {
    try {
      return database.exec(statement);
    } catch (error) {
      if (!isBusy(error) || performance.now() > untilMs) throw error;
    }
    await sleep(2 + Math.random() * 8);
  }
}
