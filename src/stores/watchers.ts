/** Who watches which record in this process: what the stores' `watch` have in common. */
import type { RecordId, StoredRecord } from "../machine/record.ts";

export interface Watchers {
  /** Adds one; returns what removes it, once. */
  readonly add: (id: RecordId, onNudge: () => void) => () => void;
  /** Calls everybody who watches a record. */
  readonly nudge: (id: RecordId) => void;
  readonly nudgeAll: () => void;
  readonly has: (id: RecordId) => boolean;
  /** The records that are watched. */
  readonly ids: () => readonly RecordId[];
}

type State = StoredRecord | undefined;

/** Whether a step from one record to the next lets its waiters go on: not into doubt, the rest. */
export function freesWaiters(before: State, next: State): boolean {
  return next !== before && (next?.state === "completed" || next?.state === "released");
}

/** Watchers of the records of one store. */
export function createWatchers(): Watchers {
  const byId = new Map<RecordId, Set<{ readonly onNudge: () => void }>>();
  const nudge = (id: RecordId): void => {
    for (const { onNudge } of byId.get(id) ?? []) onNudge();
  };
  return {
    add: (id, onNudge) => {
      const watchers = byId.get(id) ?? new Set();
      const watcher = { onNudge };
      byId.set(id, watchers.add(watcher));
      return () => {
        if (watchers.delete(watcher) && watchers.size === 0) byId.delete(id);
      };
    },
    nudge,
    nudgeAll: () => {
      for (const id of byId.keys()) nudge(id);
    },
    has: (id) => byId.has(id),
    ids: () => [...byId.keys()],
  };
}
