/**
 * Claims in a transaction: the user's own (`engine.with(store.within(tx))`), or one that the engine
 * begins and ends. The transaction is the ownership: no lease is renewed, and nothing is repeated.
 */
import { LatchkeyError } from "../../errors.ts";
import type { ClaimCommand, ClaimReply } from "../../machine/record.ts";
import type { Store } from "../../stores/store.ts";
import type { Claim, ClaimContext } from "../claim.ts";
import type { Settled } from "../settle.ts";
import { openedReply } from "../results/result-codec.ts";
import { createSteps } from "../steps.ts";
import { withDeadline } from "../store-call.ts";
import { wasCommitted } from "./ask.ts";
import { open, storeWithin } from "./transactions.ts";
import type { Transactions } from "./transactions.ts";

type Claimed = Extract<ClaimReply, { readonly kind: "claimed" }>;
type Command = Omit<ClaimCommand, "kind">;
type Admitted = Exclude<ClaimReply, Claimed> | (Claimed & { readonly claim: Claim });

/** How the transaction of a claim ends. */
interface Ending {
  readonly transaction: unknown;
  readonly signal: AbortSignal;
  /** Rejects when nothing was committed, or nobody knows. */
  readonly commit: (result: Uint8Array) => Promise<void>;
  readonly rollback: () => Promise<void>;
}

/** Claims in the user's own transaction, which the user ends. Rejects with the store's error. */
export async function claimWithin(context: ClaimContext, command: Command): Promise<Admitted> {
  const { store, id, owner } = context;
  const reply = openedReply(await store.claim(id, command), context);
  if (reply.kind !== "claimed") return reply;
  const ending = {
    transaction: undefined,
    signal: new AbortController().signal,
    commit: async () => {},
    // Should it be committed in spite of the failure, the key is free. Where a statement has failed
    // this fails, too, and nothing at all can be committed.
    rollback: async () => void (await store.release(id, owner).catch(() => undefined)),
  };
  return { ...reply, claim: holdWithin(context, reply, ending) };
}

/**
 * Claims in a transaction of its own: it stays open for whoever gets the claim, and is over for
 * whoever does not. Rejects with `store-unavailable` when it cannot be begun.
 */
export async function claimInTransaction(
  context: ClaimContext,
  command: Command,
  transactions: Transactions<unknown>,
): Promise<Admitted> {
  const { id, runtime, storeTimeoutMs } = context;
  const opened = await open(context, transactions);
  let reply: ClaimReply | undefined;
  try {
    const within = storeWithin(context.store, opened.client);
    const bounded = <T>(call: () => Promise<T>) => withDeadline(runtime, storeTimeoutMs, call);
    const store: Store = {
      ...within,
      claim: (...args) => bounded(() => within.claim(...args)),
      complete: (...args) => bounded(() => within.complete(...args)),
    };
    reply = openedReply(await store.claim(id, command), context);
    if (reply.kind !== "claimed") return reply;
    const commit = async (result: Uint8Array): Promise<void> => {
      try {
        await opened.commit();
      } catch (cause) {
        const asked = { transactions, command, result, cause };
        if (!(await wasCommitted(context, asked))) throw cause;
      }
    };
    const claim = holdWithin({ ...context, store }, reply, { ...opened, commit });
    return { ...reply, claim };
  } finally {
    if (reply?.kind !== "claimed") await opened.rollback();
  }
}

function holdWithin(context: ClaimContext, granted: Claimed, ending: Ending): Claim {
  const { store, id, owner, fingerprint, operation, retentionMs, results } = context;
  const { fence, attempt, takeover, steps } = granted;
  const deriveKey = (name: string): string => context.names.derivedKey(id, name);
  return {
    operation,
    fence,
    attempt,
    takeover,
    retentionMs,
    signal: ending.signal,
    transaction: ending.transaction,
    detach: () => undefined,
    deriveKey,
    step: createSteps({
      finished: steps,
      deriveKey,
      record: async (name, bytes) => {
        const result = results.seal(bytes, { id, fingerprint, part: ["step", name] });
        const reply = await store.step(id, { owner, name, result });
        if (reply.kind === "lease-lost") throw leaseLost();
      },
      recordWithin: () => Promise.reject(noTransactionInside()),
    }),
    commit: () => Promise.reject(noCommit()),
    ...settlerWithin(context, attempt, ending),
  };
}

function settlerWithin(
  context: ClaimContext,
  attempt: number,
  ending: Ending,
): Pick<Claim, "complete" | "release"> {
  const { store, runtime, events, id, owner, fingerprint, operation, results } = context;
  const startedAtMs = runtime.nowMs();
  const over = Promise.withResolvers<void>();
  context.track(over.promise);
  let settled: Promise<Settled> | undefined;

  async function record(bytes: Uint8Array, retentionMs: number): Promise<Uint8Array> {
    try {
      const result = results.seal(bytes, { id, fingerprint, part: ["result"] });
      const reply = await store.complete(id, { owner, result, retentionMs });
      if (reply.kind === "lease-lost") throw leaseLost();
      return result;
    } catch (error) {
      await ending.rollback();
      throw error;
    }
  }

  async function complete(bytes: Uint8Array, retentionMs: number): Promise<Settled> {
    try {
      await ending.commit(await record(bytes, retentionMs));
    } catch (cause) {
      events.emit({ kind: "complete-failed", operation, attempt, cause });
      throw cause;
    }
    context.pace.note(operation, runtime.nowMs() - startedAtMs);
    events.emit({ kind: "executed", operation, attempt });
    return "recorded";
  }

  async function release(): Promise<Settled> {
    await ending.rollback();
    events.emit({ kind: "released", operation, attempt });
    return "released";
  }

  // Only the first word counts.
  function settle(work: () => Promise<Settled>): Promise<Settled> {
    settled ??= work().finally(() => {
      over.resolve();
      context.waiting.wake(id);
    });
    return settled;
  }

  return {
    complete: (result, retentionMs = context.retentionMs) =>
      settle(() => complete(result, retentionMs)),
    // What could not be committed has been rolled back already.
    release: () => settle(release).catch((): Settled => "released"),
  };
}

function leaseLost(): LatchkeyError {
  return new LatchkeyError(
    "lease-lost",
    "The record of this transaction is another owner's by now. Roll back; nothing was committed.",
  );
}

function noTransactionInside(): TypeError {
  return new TypeError(
    "This claim is in a transaction already, which its steps share. Leave their transaction out.",
  );
}

function noCommit(): TypeError {
  return new TypeError(
    "In a transaction its COMMIT is the point of no return, and claim.commit() has no meaning. " +
      "What happens elsewhere needs a claim outside of the transaction.",
  );
}
