/** Sweeping in the background, in batches that are short enough to be in nobody's way. */

/** Most records a statement deletes: a claim of one of them waits for no longer than that. */
const batchSize = 200;
/** Most records a round in the background deletes. */
const roundSize = 20_000;

export interface Sweeper {
  /** Deletes up to `limit` records whose retention is over; returns how many. */
  readonly sweep: (limit: number) => Promise<number>;
  /** Ends the sweeping in the background. */
  readonly stop: () => void;
}

/** Sweeps every `everyMs`, or only when told to; throws `TypeError` for no period. */
export function startSweeper(
  sweepBatch: (limit: number) => Promise<number>,
  everyMs: number | false,
): Sweeper {
  if (everyMs !== false && !(Number.isInteger(everyMs) && everyMs >= 1)) {
    throw new TypeError(
      `sweepEveryMs must be a positive whole number or false; got ${String(everyMs)}.`,
    );
  }
  const end = new AbortController();
  let busy = false;

  async function sweep(limit: number): Promise<number> {
    let swept = 0;
    while (swept < limit && !end.signal.aborted) {
      const most = Math.min(batchSize, limit - swept);
      const count = await sweepBatch(most);
      swept += count;
      if (count < most) break;
    }
    return swept;
  }

  async function round(): Promise<void> {
    if (busy) return;
    busy = true;
    // Housekeeping: what fails now is swept in the next round, and claims report the same fault.
    await sweep(roundSize).catch(() => undefined);
    busy = false;
  }

  const timer = everyMs === false ? undefined : setInterval(() => void round(), everyMs);
  timer?.unref();
  return {
    sweep,
    stop: () => {
      end.abort();
      clearInterval(timer);
    },
  };
}
