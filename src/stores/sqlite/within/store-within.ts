/** The SQLite store in a transaction of the user's: the commands on the user's own connection. */
import type { DatabaseSync } from "node:sqlite";
import { LatchkeyError } from "../../../errors.ts";
import type { Store } from "../../store.ts";
import { commandsOn } from "../commands.ts";
import { storeError } from "../database.ts";

interface Own {
  /** Where the store keeps its records; `null` in memory. */
  readonly file: string | null;
  readonly now: () => number;
}

/** The store in a transaction; throws `TypeError` for a connection to another file. */
export function storeWithin(database: DatabaseSync, { file, now }: Own): Store {
  if (typeof database?.prepare !== "function" || file === null || database.location() !== file) {
    throw new TypeError(
      "store.within() needs a DatabaseSync of your own, opened on the very file of the store. " +
        "Another library (better-sqlite3, libSQL, Prisma's) does not share its locks.",
    );
  }
  async function run<T>(work: () => T): Promise<T> {
    // A claim outside of one would stand at once, and the work beside it.
    if (!database.isTransaction) {
      throw new LatchkeyError(
        "store-unsuitable",
        "store.within() was handed a connection that is in no transaction. BEGIN IMMEDIATE first.",
      );
    }
    try {
      return work();
    } catch (error) {
      throw storeError(error);
    }
  }
  return {
    name: "sqlite",
    isTransaction: true,
    ...commandsOn({ database, run, now }),
    close: async () => {},
  };
}
