/**
 * A runtime whose clock stands still until a test moves it; timers fire in order, with their
 * effects.
 */
import type { Runtime } from "../../src/engine/runtime.ts";

export interface VirtualRuntime extends Runtime {
  /** Moves the clock and fires what is due; lets promises settle between two timers. */
  readonly advance: (ms: number) => Promise<void>;
  /** How many timers are set. */
  readonly timers: () => number;
}

/** Starts at 1 700 000 000 000; tokens are `owner-1`, `owner-2`, … */
export function virtualRuntime(): VirtualRuntime {
  const timers = new Map<number, { readonly atMs: number; readonly action: () => void }>();
  let nowMs = 1_700_000_000_000;
  let counter = 0;
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

  return {
    nowMs: () => nowMs,
    random: () => 0.5,
    token: () => `owner-${(counter += 1)}`,
    timer: (action, delayMs) => {
      const id = (counter += 1);
      timers.set(id, { atMs: nowMs + delayMs, action });
      return () => timers.delete(id);
    },
    timers: () => timers.size,
    advance: async (ms) => {
      const untilMs = nowMs + ms;
      for (;;) {
        await settle();
        const due = [...timers].filter(([, timer]) => timer.atMs <= untilMs);
        const next = due.toSorted(([, a], [, b]) => a.atMs - b.atMs)[0];
        if (next === undefined) break;
        timers.delete(next[0]);
        nowMs = Math.max(nowMs, next[1].atMs);
        next[1].action();
      }
      nowMs = untilMs;
      await settle();
    },
  };
}
