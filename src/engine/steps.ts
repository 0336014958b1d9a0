/**
 * Steps: parts of the work that are remembered under the key one by one, so that a later attempt
 * resumes behind the last finished one instead of repeating it.
 */
import type { Steps } from "../machine/record.ts";
import { decodeValue, encodeValue } from "./values/codec.ts";

/** What the function of a step is handed. */
export interface StepContext {
  readonly name: string;
  /** A stable key for the step's downstream call: the same on every attempt. */
  readonly key: string;
}

/**
 * Runs one step of the work, or returns what an earlier attempt recorded of it. Its value is kept
 * as JSON keeps it (bytes as bytes), at most 64 KiB; what cannot be kept is never run again either,
 * and a later attempt gets `result-omitted`. Rejects with what `work` throws (the step is not
 * recorded), `lease-lost`, or `store-unavailable` when it could not be recorded.
 */
export type Step = <T>(name: string, work: (context: StepContext) => T | Promise<T>) => Promise<T>;

const mostSteps = 64;
const mostBytes = 65_536;

export interface StepsOptions {
  /** What earlier attempts have finished. */
  readonly finished: Steps;
  readonly deriveKey: (name: string) => string;
  /** Writes a finished step; resolves once the store has acknowledged it. */
  readonly record: (name: string, result: Uint8Array) => Promise<void>;
}

/** The steps of one claim. A step that is asked for twice at a time runs once. */
export function createSteps({ finished, deriveKey, record }: StepsOptions): Step {
  const known = new Map<string, Promise<unknown>>();
  for (const [name, result] of Object.entries(finished)) {
    known.set(name, Promise.resolve(result).then(decodeValue));
  }
  for (const promise of known.values()) promise.catch(() => undefined); // told to whoever asks

  async function execute(name: string, work: (context: StepContext) => unknown): Promise<unknown> {
    const value = await work({ name, key: deriveKey(name) });
    await record(name, encodeValue(value, mostBytes));
    return value;
  }

  return <T>(name: string, work: (context: StepContext) => T | Promise<T>): Promise<T> => {
    const found = known.get(name);
    if (found !== undefined) return found as Promise<T>;
    checkName(name, known.size);
    const running = execute(name, work);
    known.set(name, running);
    running.catch(() => known.delete(name)); // it may be tried again
    return running as Promise<T>;
  };
}

function checkName(name: string, count: number): void {
  if (typeof name !== "string" || !/^[\x20-\x7e]{1,100}$/.test(name)) {
    throw new TypeError("A step needs a name of 1 to 100 visible ASCII characters.");
  }
  if (count >= mostSteps) {
    throw new TypeError(`One key has at most ${mostSteps} steps. Put several parts into one.`);
  }
}
