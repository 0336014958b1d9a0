/**
 * The SQLite store: the embedded default, durable and shared by processes on one host. Each flush
 * of commands runs inside one immediate transaction (group commit); what a command does is in
 * `commands.ts`, rows are in `rows.ts`, opening and schema in `database.ts`.
 */
import type { DatabaseSync } from "node:sqlite";
import type { Store } from "../store.ts";
import { createBatches } from "./batch.ts";
import { commandsOn } from "./commands.ts";
import { openDatabase } from "./database.ts";
import { rowsOf } from "./rows.ts";
import { watchOver } from "./watch.ts";
import { storeWithin } from "./within/store-within.ts";

export { beginOn } from "./within/begin-on.ts";

export interface SqliteStoreOptions {
  /** The store's clock, ms since the epoch. Default `Date.now`: all processes are on one host. */
  readonly now?: () => number;
  /** How long a command waits for another process's transaction, ms. Default 1500. */
  readonly busyMs?: number;
}

export interface SqliteStore extends Store {
  /**
   * The same records through a transaction that you have begun and will end: a connection of your
   * own to the same file, after `BEGIN IMMEDIATE`. For `engine.with(store.within(db)).run(…)`.
   */
  within(transaction: DatabaseSync): Store;
}

/**
 * Opens (and creates) a store in the file at `path`, or `":memory:"`. Throws `store-unavailable`
 * when the file cannot be opened and `store-unsuitable` when a newer version of Latchkey wrote it.
 * The process must not open the file through another SQLite library (better-sqlite3, libSQL,
 * Prisma): neither sees the other's locks, and two could write at once.
 */
export function sqliteStore(path: string, options: SqliteStoreOptions = {}): SqliteStore {
  const now = options.now ?? Date.now;
  const busyMs = options.busyMs ?? 1500;
  const database = openDatabase(path);
  const { enqueue, idle } = createBatches(database, busyMs);
  const rows = rowsOf(database);
  const watch = watchOver(database, (id) => rows.read(id));
  const commands = commandsOn({ database, run: enqueue, now, onFreed: watch.nudge });
  // Housekeeping: what fails now is swept in the next round, and claims report the same fault.
  const sweeper = setInterval(() => void commands.sweep(1000).catch(() => undefined), 60_000);
  sweeper.unref();

  return {
    name: "sqlite",
    ...commands,
    watch: watch.watch,
    within: (transaction) => storeWithin(transaction, { file: database.location(), now }),
    close: async () => {
      clearInterval(sweeper);
      watch.close();
      await idle();
      if (database.isOpen) database.close();
    },
  };
}
