/**
 * Transactions of the user's database, as the engine begins and ends them: held open from the claim
 * to the recorded result.
 */

import type { Store } from "../../stores/store.ts";
import type { Runtime } from "../runtime.ts";
import { withDeadline } from "../store-call.ts";

/**
 * Begins a transaction, runs `work` once in it, and commits when that resolves or rolls back when
 * it rejects: `(work) => sql.begin(work)` of postgres.js, `beginOn(pool)` for pg.
 */
export type Begin<Tx> = (work: (transaction: Tx) => Promise<void>) => Promise<unknown>;

/** Where transactions come from. */
export type Transactions<Tx> =
  | Begin<Tx>
  | {
      readonly begin: Begin<Tx>;
      /** What the store takes of a transaction, e.g. `fromKysely`. Default: the transaction. */
      client(transaction: Tx): unknown;
    };

/** A transaction that has begun and is held open. */
export interface Opened {
  readonly transaction: unknown;
  /** What `store.within()` takes. */
  readonly client: unknown;
  /** Aborts when it ends before it is told to: then nothing was committed. */
  readonly signal: AbortSignal;
  /** Resolves after the COMMIT; rejects when it failed, or its reply was lost. */
  readonly commit: () => Promise<void>;
  /** Never rejects: whatever goes wrong, what was not told to commit is not committed. */
  readonly rollback: () => Promise<void>;
}

/** What can serve as the option `transaction`; throws `TypeError` for anything else. */
export function checkTransactions(value: unknown): Transactions<unknown> {
  if (typeof value === "function") return value as Begin<unknown>;
  const { begin, client } = (value ?? {}) as {
    readonly begin?: unknown;
    readonly client?: unknown;
  };
  if (typeof begin === "function" && typeof client === "function") {
    return value as Transactions<unknown>;
  }
  throw new TypeError(
    "transaction must be a function such as (work) => sql.begin(work) or beginOn(pool), or " +
      "{ begin, client } with one.",
  );
}

/** How the engine's patience is measured. */
export interface Patience {
  readonly runtime: Runtime;
  readonly storeTimeoutMs: number;
}

/** Begins a transaction; rejects with `store-unavailable` when that fails or takes too long. */
export async function open<Tx>(patience: Patience, from: Transactions<Tx>): Promise<Opened> {
  const { runtime, storeTimeoutMs: limitMs } = patience;
  const opening = hold(from);
  try {
    const { commit, rollback, ...opened } = await withDeadline(runtime, limitMs, () => opening);
    const bounded = async (end: () => Promise<void>): Promise<void> => {
      const outcome = end().then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      const failed = await withDeadline(runtime, limitMs, () => outcome);
      if (failed !== undefined) throw failed.error;
    };
    return {
      ...opened,
      commit: () => bounded(commit),
      rollback: () => bounded(rollback).catch(() => undefined),
    };
  } catch (error) {
    // One that begins too late, as from an exhausted pool, is of no use to anybody.
    opening.then((late) => late.rollback()).catch(() => undefined); // nobody waits for its end
    throw error;
  }
}

async function hold<Tx>(from: Transactions<Tx>): Promise<Opened> {
  const isPlain = typeof from === "function";
  const begin = isPlain ? from : from.begin;
  const begun = Promise.withResolvers<Tx>();
  const word = Promise.withResolvers<void>();
  const abort = new AbortController();
  let isBegun = false;
  let isTold = false;
  const ended = (async () => {
    await begin(async (transaction) => {
      if (isBegun) throw new Error("A transaction runs its work once; begin another one instead.");
      isBegun = true;
      begun.resolve(transaction);
      await word.promise;
    });
    if (!isTold) throw new Error("The transaction ended before its work did.");
  })();
  ended.catch((error: unknown) => {
    begun.reject(error);
    if (!isTold) abort.abort(error);
  });
  const transaction = await begun.promise;
  return {
    transaction,
    client: isPlain ? transaction : from.client(transaction),
    signal: abort.signal,
    commit: () => {
      isTold = true;
      word.resolve();
      return ended;
    },
    rollback: () => {
      isTold = true;
      word.reject(new Error("Latchkey rolls this transaction back."));
      return ended;
    },
  };
}

/** The store in a transaction. Throws `TypeError` for a store that cannot be in one. */
export function storeWithin(store: Store, client: unknown): Store {
  checkTransactional(store);
  return store.within(client);
}

/** Throws `TypeError` for a store that cannot be in a transaction. */
export function checkTransactional(
  store: Store,
): asserts store is Required<Pick<Store, "within">> & Store {
  if (store.within !== undefined) return;
  throw new TypeError(
    `The ${store.name} store takes part in no transaction. Use Postgres or SQLite, or leave the ` +
      "option transaction out.",
  );
}
