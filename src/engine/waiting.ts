/**
 * Waiting duplicates: held until the owner is done, then sent through the claim like any request.
 * Woken at once by an owner in this process or by the store; bounded per key and process.
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

/** One waiter's place. */
export interface Seat {
  /**
   * Resolves when it makes sense to claim again: somebody woke the waiter, also before this call,
   * or `atMostMs` passed, or its client went away.
   */
  readonly hold: (atMostMs: number) => Promise<void>;
  readonly wake: () => void;
  readonly leave: () => void;
}

export interface Waiting {
  /** A place to wait for a record, or `undefined` when too many wait already (B-54). */
  readonly sit: (id: RecordId, signal?: AbortSignal) => Seat | undefined;
  /** An owner in this process is at work; what is returned ends that, and wakes its waiters. */
  readonly own: (id: RecordId) => () => void;
  /** Whether the owner is in this process: it wakes its waiters itself. */
  readonly isOwned: (id: RecordId) => boolean;
  /** Something has happened to a record: its waiters go through the claim. */
  readonly wake: (id: RecordId) => void;
  /** How many wait in this process. */
  readonly count: () => number;
}

/** Waiters of one engine. */
export function createWaiting(runtime: Runtime, limits: WaitingLimits): Waiting {
  const seats = new Map<RecordId, Set<Seat>>();
  const owners = new Map<RecordId, number>();
  let total = 0;

  function isFull(id: RecordId): boolean {
    return total >= limits.perProcess || (seats.get(id)?.size ?? 0) >= limits.perKey;
  }

  function wake(id: RecordId): void {
    for (const seat of seats.get(id) ?? []) seat.wake();
  }

  return {
    sit: (id, signal) => {
      if (isFull(id)) return undefined;
      const seated = seats.get(id) ?? new Set();
      const seat = createSeat(runtime, signal, () => {
        if (!seated.delete(seat)) return;
        total -= 1;
        if (seated.size === 0) seats.delete(id);
      });
      seats.set(id, seated.add(seat));
      total += 1;
      return seat;
    },
    own: (id) => {
      owners.set(id, (owners.get(id) ?? 0) + 1);
      let owning = true;
      return () => {
        if (!owning) return;
        owning = false;
        const left = (owners.get(id) ?? 1) - 1;
        if (left === 0) owners.delete(id);
        else owners.set(id, left);
        wake(id);
      };
    },
    wake,
    isOwned: (id) => owners.has(id),
    count: () => total,
  };
}

function createSeat(runtime: Runtime, signal: AbortSignal | undefined, onLeave: () => void): Seat {
  let woken = signal?.aborted === true; // a wake counts for the next hold, too
  let release: (() => void) | undefined;

  function wake(): void {
    if (release === undefined) woken = true;
    else release();
  }
  signal?.addEventListener("abort", wake);

  return {
    wake,
    hold: (atMostMs) => {
      if (woken) {
        woken = false;
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        const cancel = runtime.timer(() => wake(), atMostMs);
        release = () => {
          release = undefined;
          cancel();
          resolve();
        };
      });
    },
    leave: () => {
      signal?.removeEventListener("abort", wake);
      onLeave();
    },
  };
}
