/**
 * Steps: parts of the work that are remembered under the key one by one, so that a later attempt
 * resumes behind the last finished one instead of repeating it.
 */
import type { Steps } from "../machine/record.ts";
import { checkTransactions } from "./transaction/transactions.ts";
import type { Transactions } from "./transaction/transactions.ts";
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
 * recorded), `lease-lost`, or `store-unavailable` when it could not be recorded: asked for again
 * under the same claim it is then recorded, and not run again.
 */
export interface Step {
  <T>(name: string, work: (context: StepContext) => T | Promise<T>): Promise<T>;
  /**
   * The same in a transaction on the store's own database: what `work` writes in it is committed
   * together with the record of the step, or not at all.
   */
  <T, Tx>(
    name: string,
    within: { readonly transaction: Transactions<Tx> },
    work: (context: StepContext, transaction: Tx) => T | Promise<T>,
  ): Promise<T>;
}

const mostSteps = 64;
const mostBytes = 65_536;

export interface StepsOptions {
  /** What earlier attempts have finished. */
  readonly finished: Steps;
  readonly deriveKey: (name: string) => string;
  /** Writes a finished step; resolves once the store has acknowledged it. */
  readonly record: (name: string, result: Uint8Array) => Promise<void>;
  /**
   * Runs `work` in a transaction and writes the step in the same; resolves after the COMMIT,
   * rejects when nothing was committed, or nobody knows.
   */
  readonly recordWithin: (step: StepInTransaction) => Promise<void>;
}

/** A step with a transaction of its own. */
export interface StepInTransaction {
  readonly transactions: Transactions<unknown>;
  readonly name: string;
  /** It ran under this claim before, and may have been committed: then `work` is left alone. */
  readonly isUnsure: boolean;
  /** Resolves to what is to be recorded. */
  readonly work: (transaction: unknown) => Promise<Uint8Array>;
}

type Work = (context: StepContext, transaction: unknown) => unknown;
interface Within {
  readonly transaction: Transactions<unknown>;
}

/** What a step came to, while the store does not have it. */
interface Done {
  readonly value: unknown;
  readonly bytes: Uint8Array;
}

/** The steps of one claim. A step that is asked for twice at a time runs once. */
export function createSteps({ finished, deriveKey, record, recordWithin }: StepsOptions): Step {
  const known = new Map<string, Promise<unknown>>();
  const unrecorded = new Map<string, Done>();
  /** What steps in transactions came to, whether or not they were committed. */
  const values = new Map<string, unknown>();
  for (const [name, result] of Object.entries(finished)) {
    known.set(name, Promise.resolve(result).then(decodeValue));
  }
  for (const promise of known.values()) promise.catch(() => undefined); // told to whoever asks

  async function execute(name: string, work: Work): Promise<unknown> {
    const done = unrecorded.get(name) ?? (await workOnce(name, work));
    await record(name, done.bytes);
    unrecorded.delete(name);
    return done.value;
  }

  async function workOnce(name: string, work: Work): Promise<Done> {
    const value = await work({ name, key: deriveKey(name) }, undefined);
    const done = { value, bytes: encodeValue(value, mostBytes) };
    unrecorded.set(name, done);
    return done;
  }

  async function executeWithin(name: string, within: Within, work: Work): Promise<unknown> {
    const transactions = checkTransactions(within.transaction);
    const isUnsure = values.has(name);
    await recordWithin({
      transactions,
      name,
      isUnsure,
      work: async (transaction) => {
        const value = await work({ name, key: deriveKey(name) }, transaction);
        values.set(name, value);
        return encodeValue(value, mostBytes);
      },
    });
    return values.get(name);
  }

  function step(
    name: string,
    ...rest: readonly [Work] | readonly [Within, Work]
  ): Promise<unknown> {
    const found = known.get(name);
    if (found !== undefined) return found;
    checkName(name, known.size);
    const running = rest.length === 1 ? execute(name, rest[0]) : executeWithin(name, ...rest);
    known.set(name, running);
    running.catch(() => known.delete(name)); // it may be tried again
    return running;
  }
  return step;
}

function checkName(name: string, count: number): void {
  if (typeof name !== "string" || !/^[\x20-\x7e]{1,100}$/.test(name)) {
    throw new TypeError("A step needs a name of 1 to 100 visible ASCII characters.");
  }
  if (count >= mostSteps) {
    throw new TypeError(`One key has at most ${mostSteps} steps. Put several parts into one.`);
  }
}
