/**
 * A COMMIT that failed, or whose reply was lost: whether it happened is asked of the store, in
 * another transaction, and never guessed.
 */
import { LatchkeyError } from "../../errors.ts";
import type { ClaimCommand } from "../../machine/record.ts";
import type { ClaimContext } from "../claim.ts";
import { persist } from "../store-call.ts";
import { open, storeWithin } from "./transactions.ts";
import type { Transactions } from "./transactions.ts";

export interface Asked {
  readonly transactions: Transactions<unknown>;
  readonly command: Omit<ClaimCommand, "kind">;
  /** What the transaction recorded. */
  readonly result: Uint8Array;
  /** Why its outcome is not known. */
  readonly cause: unknown;
}

/**
 * Whether the transaction has committed; asks for up to one lease, then rejects with
 * `store-unavailable`. While it is still under way its key is in progress, so a free key means that
 * it has ended.
 */
export async function wasCommitted(context: ClaimContext, asked: Asked): Promise<boolean> {
  const { runtime, leaseMs, storeTimeoutMs } = context;
  const patience = { limitMs: storeTimeoutMs, patienceMs: leaseMs };
  try {
    return await persist(runtime, { call: () => ask(context, asked), ...patience });
  } catch {
    throw unknown(asked.cause);
  }
}

async function ask(context: ClaimContext, asked: Asked): Promise<boolean> {
  const opened = await open(context, asked.transactions);
  try {
    const reply = await storeWithin(context.store, opened.client).claim(context.id, asked.command);
    // Its own, or that of another transaction which came after its end: look again later.
    if (reply.kind === "in-progress") throw unknown(asked.cause);
    return reply.kind === "completed" && Buffer.compare(reply.result, asked.result) === 0;
  } finally {
    await opened.rollback();
  }
}

function unknown(cause: unknown): LatchkeyError {
  return new LatchkeyError(
    "store-unavailable",
    "The COMMIT was not acknowledged, and nobody knows yet. Retry with the same key: it tells.",
    { cause, retryAfterMs: 1000 },
  );
}
