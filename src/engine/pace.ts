/**
 * How long each operation takes in this process, so that a refused duplicate is told when to
 * retry.
 */

export interface Pace {
  /** Notes how long one execution took. */
  readonly note: (operation: string, durationMs: number) => void;
  /**
   * When a retry makes sense: what is likely left of the work, but never more than of the lease.
   */
  readonly retryAfterMs: (
    operation: string,
    running: { readonly retryAfterMs: number; readonly runningForMs: number },
  ) => number;
}

const mostOperations = 1000;
const unknownMs = 1000;

/** Moving averages, for at most 1000 operations; of an unknown one a second is guessed (B-44). */
export function createPace(): Pace {
  const averages = new Map<string, number>();
  return {
    note: (operation, durationMs) => {
      const known = averages.get(operation);
      if (known === undefined && averages.size >= mostOperations) return;
      averages.set(operation, known === undefined ? durationMs : known * 0.8 + durationMs * 0.2);
    },
    retryAfterMs: (operation, { retryAfterMs, runningForMs }) => {
      const leftMs = (averages.get(operation) ?? unknownMs) - runningForMs;
      return Math.round(Math.min(retryAfterMs, Math.max(leftMs, unknownMs)));
    },
  };
}
