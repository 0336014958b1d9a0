/** Waiting in rules: for a condition, with a deadline; and around a handler that is held. */
import { setTimeout as delay } from "node:timers/promises";
import type { WireAnswer } from "./wire/answer-reader.ts";
import { RuleBroken } from "./checks.ts";
import type { Intent, Running } from "./route.ts";

/** How long a handler is held at most that is released when the rule has seen enough, in ms. */
export const holdMs = 10_000;
const patienceMs = 8000;

/** Looks again and again until `probe` yields something; at the deadline the rule is broken. */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  sentence: string,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (performance.now() > deadline) throw new RuleBroken(sentence);
    await delay(5);
  }
}

/** Runs `during` while the handler of a mounted route is at work, and returns its answer. */
export async function whileHeld(
  intent: Intent,
  during: (running: Running) => Promise<void>,
): Promise<WireAnswer> {
  const running = await intent.start(holdMs);
  try {
    await during(running);
  } finally {
    // Also after a failure: no handler may be left waiting.
    await running.finish();
  }
  return running.finish();
}
