/**
 * `engine.run`: a plain piece of work, run once for its key, and its value as what is recorded.
 */
import { durationMs } from "../../duration.ts";
import type { Duration } from "../../duration.ts";
import { isLatchkeyError, LatchkeyError } from "../../errors.ts";
import { begin } from "../begin.ts";
import type { Admission, BeginContext } from "../begin.ts";
import type { Claim } from "../claim.ts";
import { redactedBy } from "../results/redact.ts";
import { checkTransactions } from "../transaction/transactions.ts";
import type { Transactions } from "../transaction/transactions.ts";
import { decodeValue, encodeEnvelope, encodeValue } from "../values/codec.ts";
import { fingerprintOf } from "../values/fingerprint.ts";
import { checkScope } from "../values/key.ts";

export interface RunRequest<T = unknown> {
  readonly operation: string;
  readonly key: string;
  /** Whose key it is. Default `"public"`: one key space for all. */
  readonly scope?: string;
  /**
   * What the key is bound to: the same key with another input is refused. JSON, bytes, or nothing.
   */
  readonly input?: unknown;
  /** How long to wait for an owner that is at work. Default: refuse at once with `in-progress`. */
  readonly wait?: Duration;
  /**
   * What is recorded instead of the work's value: the first caller gets the original, a repeated
   * one gets this. When it throws, the value is omitted. It must not wait. Default: the value.
   */
  readonly redact?: (value: T) => T;
}

export interface TransactionRequest<T, Tx> extends RunRequest<T> {
  /**
   * Where transactions on the store's own database come from, e.g. `beginOn(pool)`: the claim, the
   * writes of `work` in it and the result are committed together or not at all.
   */
  readonly transaction: Transactions<Tx>;
}

/** See `Engine.run`. */
export async function run<T>(
  lent: BeginContext,
  request: RunRequest<T> | TransactionRequest<T, unknown>,
  work: (claim: Claim, transaction: unknown) => T | Promise<T>,
): Promise<T> {
  const { operation, key, input, wait } = request;
  // Given, but undefined: a user without an id, who must not share a key space with all (B-101).
  const scope = "scope" in request ? checkScope(request.scope) : "public";
  const fingerprint = fingerprintOf([], contentOf(input));
  const waitMs = wait === undefined ? 0 : durationMs(wait, "wait", 0);
  const within = "transaction" in request && {
    transaction: checkTransactions(request.transaction),
  };
  const admitted = await begin(lent, { operation, scope, key, fingerprint, waitMs, ...within });
  if (admitted.kind === "completed") return recorded(lent, operation, admitted.result) as T;
  if (admitted.kind !== "execute") throw refusal(admitted);
  const { claim } = admitted;
  let value: T;
  try {
    value = await work(claim, claim.transaction);
  } catch (error) {
    await claim.release();
    throw error;
  }
  await claim.complete(bytesOf(value, request, { lent, claim }));
  return value;
}

function recorded({ events }: BeginContext, operation: string, result: Uint8Array): unknown {
  try {
    return decodeValue(result);
  } catch (error) {
    if (isLatchkeyError(error) && error.code === "store-corrupt") {
      events.emit({ kind: "store-corrupt", operation, cause: error });
    }
    throw error;
  }
}

function bytesOf<T>(
  value: T,
  request: RunRequest<T>,
  { lent, claim }: { readonly lent: BeginContext; readonly claim: Claim },
): Uint8Array {
  const { redact } = request;
  if (redact === undefined) return encodeValue(value);
  const redacted = redactedBy(
    () => redact(value),
    (kept) => !(kept instanceof Promise),
  );
  if (redacted.kind === "redacted") return encodeValue(redacted.kept);
  const { operation, attempt } = claim;
  lent.events.emit({ kind: "redact-failed", operation, attempt, cause: redacted.cause });
  return encodeEnvelope("omitted", { reason: "redact failed" });
}

function contentOf(input: unknown): Parameters<typeof fingerprintOf>[1] {
  if (input === undefined) return { kind: "none" };
  if (input instanceof Uint8Array) return { kind: "bytes", bytes: input };
  return { kind: "json", value: input };
}

function refusal(admitted: Exclude<Admission, { kind: "execute" | "completed" }>): LatchkeyError {
  switch (admitted.kind) {
    case "in-progress": {
      const { retryAfterMs } = admitted;
      const message = "A request is outstanding for this idempotency key. Retry a little later.";
      return new LatchkeyError("in-progress", message, { retryAfterMs });
    }
    case "mismatch":
      return new LatchkeyError(
        "key-reused",
        "This idempotency key was used with another input. Use a new key for a new intent.",
      );
    case "in-doubt":
      return new LatchkeyError(
        "outcome-unknown",
        "Whether this was executed is unknown. Have an operator resolve it; do not send it again.",
      );
    case "unavailable":
      return admitted.error;
  }
}
