// Waiting for a condition with a deadline: what tests use where a fixed sleep would be a guess.

import { setTimeout as delay } from "node:timers/promises";

/** How long and how often `until` looks. */
export interface PollOptions {
  /** Give up after this many ms. Default 5 000. */
  readonly withinMs?: number;
  /** Pause between two looks, in ms. Default 10. */
  readonly everyMs?: number;
  /** What is awaited, for the error message. */
  readonly what?: string;
}

/**
 * Calls `probe` until it yields something truthy, and resolves to that. A probe that throws
 * counts as "not yet"; the last thing thrown becomes the cause of the error at the deadline.
 */
export async function until<T>(
  probe: () => T | Promise<T>,
  options: PollOptions = {},
): Promise<NonNullable<T>> {
  const { withinMs = 5_000, everyMs = 10, what = "the condition" } = options;
  const deadline = performance.now() + withinMs;
  let cause: unknown;
  for (;;) {
    try {
      const found = await probe();
      if (found) return found;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`${what} did not hold within ${withinMs} ms`, { cause });
    }
    await delay(everyMs);
  }
}
