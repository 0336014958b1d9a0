/**
 * Waking waiters of one file: at once for what this process wrote, within some 50 ms for what other
 * processes did. SQLite tells of a foreign commit by a number that is cheap to read.
 */
import type { DatabaseSync } from "node:sqlite";
import type { RecordId, StoredRecord } from "../../machine/record.ts";
import type { Store } from "../store.ts";
import { createWatchers } from "../watchers.ts";

const lookMs = 50;

export interface SqliteWatch {
  readonly watch: NonNullable<Store["watch"]>;
  /** This process has written a record. */
  readonly nudge: (id: RecordId) => void;
  readonly close: () => void;
}

/** Watching over a database; it looks only while somebody waits. */
export function watchOver(
  database: DatabaseSync,
  read: (id: RecordId) => StoredRecord | undefined,
): SqliteWatch {
  const watchers = createWatchers();
  const foreignCommits = database.prepare("PRAGMA data_version");
  let seen: unknown;
  let looking: NodeJS.Timeout | undefined;

  const version = (): unknown => foreignCommits.get()?.["data_version"];
  function look(): void {
    const current = version();
    if (current === seen) return;
    seen = current;
    for (const id of watchers.ids()) if (isFree(id)) watchers.nudge(id);
  }
  // What cannot be read is the claim's to tell.
  function isFree(id: RecordId): boolean {
    try {
      const state = read(id)?.state ?? "released"; // forgotten
      return state === "completed" || state === "released";
    } catch {
      return true;
    }
  }
  function start(): void {
    seen = version();
    looking = setInterval(look, lookMs);
    looking.unref();
  }
  function stop(): void {
    clearInterval(looking);
    looking = undefined;
  }

  return {
    watch: async (id, onNudge) => {
      if (looking === undefined) start();
      const leave = watchers.add(id, onNudge);
      return () => {
        leave();
        if (watchers.ids().length === 0) stop();
      };
    },
    nudge: watchers.nudge,
    close: stop,
  };
}
