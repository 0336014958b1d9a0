/**
 * Waiting duplicates: held until the owner is done, then sent through the claim like any request.
 * Woken at once by an owner in this process and by polling for others; bounded per key and process.
 */
import type { RecordId } from "../machine/record.ts";
import type { Runtime } from "./runtime.ts";

export interface WaitingLimits {
  /** Most waiters held by this process. Default 1000. */
  readonly perProcess: number;
  /** Most waiters held on one key by this process. Default 50. */
  readonly perKey: number;
}
export const waitingDefaults: WaitingLimits = Object.freeze({ perProcess: 1000, perKey: 50 });

export interface Waiting {
  /**
   * Resolves when it makes sense to claim again: the owner settled, `atMostMs` passed, or `signal`
   * aborted. `false` at once when too many wait already (B-54).
   */
  readonly hold: (id: RecordId, atMostMs: number, signal?: AbortSignal) => Promise<boolean>;
  /** An owner in this process has settled: its waiters go through the claim. */
  readonly wake: (id: RecordId) => void;
  /** How many wait in this process. */
  readonly count: () => number;
}

/** Waiters of one engine. */
export function createWaiting(runtime: Runtime, limits: WaitingLimits): Waiting {
  const held = new Map<RecordId, Set<() => void>>();
  let total = 0;

  function isFull(id: RecordId): boolean {
    return total >= limits.perProcess || (held.get(id)?.size ?? 0) >= limits.perKey;
  }

  return {
    hold: (id, atMostMs, signal) => {
      if (isFull(id)) return Promise.resolve(false);
      const waiters = held.get(id) ?? new Set();
      held.set(id, waiters);
      total += 1;
      return new Promise((resolve) => {
        const cancel = runtime.timer(leave, atMostMs);
        function leave(): void {
          if (!waiters.delete(leave)) return;
          total -= 1;
          cancel();
          signal?.removeEventListener("abort", leave);
          if (waiters.size === 0 && held.get(id) === waiters) held.delete(id);
          resolve(true);
        }
        waiters.add(leave);
        if (signal?.aborted === true) leave();
        else signal?.addEventListener("abort", leave);
      });
    },
    wake: (id) => {
      for (const leave of held.get(id) ?? []) leave();
    },
    count: () => total,
  };
}
