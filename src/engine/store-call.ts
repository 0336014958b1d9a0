/**
 * How the engine talks to a store: every call has our own deadline, and writes an owner needs are
 * repeated with the same token until the store has acknowledged them (a driver may leave a promise
 * pending for ever, or lose a reply).
 */
import { isLatchkeyError, LatchkeyError } from "../errors.ts";
import { pause } from "./runtime.ts";
import type { Runtime } from "./runtime.ts";

/** The call's outcome, or `store-unavailable` once `limitMs` have passed or the store failed. */
export async function withDeadline<T>(
  runtime: Runtime,
  limitMs: number,
  call: () => Promise<T>,
): Promise<T> {
  let cancel = (): void => {};
  const deadline = new Promise<never>((_, reject) => {
    cancel = runtime.timer(() => reject(unavailable(`no answer within ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([call(), deadline]);
  } catch (error) {
    throw isLatchkeyError(error) ? error : unavailable("the call failed", error);
  } finally {
    cancel();
  }
}

export interface Persistence<T> {
  readonly call: () => Promise<T>;
  readonly limitMs: number;
  /** How long to go on before giving up, from the first call. */
  readonly patienceMs: number;
  /** Most calls; default unlimited. */
  readonly attempts?: number;
  readonly onFailure?: (error: LatchkeyError) => void;
}

/**
 * Repeats an idempotent store call with jittered back-off until acknowledged; rejects with the
 * last error.
 */
export async function persist<T>(runtime: Runtime, options: Persistence<T>): Promise<T> {
  const untilMs = runtime.nowMs() + options.patienceMs;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await withDeadline(runtime, options.limitMs, options.call);
    } catch (error) {
      const failure = error as LatchkeyError;
      options.onFailure?.(failure);
      const over = attempt >= (options.attempts ?? Infinity) || runtime.nowMs() >= untilMs;
      if (over || !isPassing(failure)) throw failure;
    }
    await pause(runtime, backOffMs(runtime, attempt));
  }
}

// A full store may have room again, an unreachable one come back; a corrupt record or an unfit
// store will not change.
function isPassing(error: LatchkeyError): boolean {
  return error.code === "store-unavailable" || error.code === "store-full";
}

function backOffMs(runtime: Runtime, attempt: number): number {
  return Math.min(1000, 25 * 2 ** attempt) * (0.5 + runtime.random() / 2);
}

function unavailable(what: string, cause?: unknown): LatchkeyError {
  return new LatchkeyError(
    "store-unavailable",
    `The idempotency store is unavailable: ${what}. Retry with the same key.`,
    { cause, retryAfterMs: 1000 },
  );
}
