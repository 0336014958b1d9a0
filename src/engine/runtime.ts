/**
 * The outside world as the engine sees it: clock, randomness, timers. Injected, so that tests
 * never sleep.
 */
import { randomBytes } from "node:crypto";

export interface Runtime {
  /** Monotonic milliseconds, for local deadlines only; leases are judged by the store's clock. */
  readonly nowMs: () => number;
  /** Jitter in [0, 1). */
  readonly random: () => number;
  /** A fresh token nobody can guess, of as few characters as will do. */
  readonly token: () => string;
  /**
   * Runs `action` once after `delayMs`; returns what cancels it. A `background` timer keeps no
   * process alive.
   */
  readonly timer: (action: () => void, delayMs: number, background?: boolean) => () => void;
}

// What is longer, platforms take for 1 ms: a lease of 100 days would be renewed without a pause.
// Whoever set the timer may well be told after these 24 days.
const longestMs = 2 ** 31 - 1;

/** The real clock, randomness and timers of this process. */
export const systemRuntime: Runtime = Object.freeze({
  nowMs: () => performance.now(),
  random: () => Math.random(),
  token: () => randomBytes(15).toString("base64url"),
  timer: (action: () => void, delayMs: number, background = false) => {
    const handle = setTimeout(action, Math.min(delayMs, longestMs));
    if (background) handle.unref?.();
    return () => clearTimeout(handle);
  },
});

/** Resolves after `delayMs`. */
export function pause(runtime: Runtime, delayMs: number): Promise<void> {
  return new Promise((resolve) => runtime.timer(resolve, delayMs));
}
