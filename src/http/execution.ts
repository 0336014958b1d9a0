/**
 * The execution of one protected request: what its handler may ask and say, and how its response
 * ends the claim. Adapters show `idempotency` to the handler and hand the response to `settle`.
 */
import { durationMs } from "../duration.ts";
import type { Duration } from "../duration.ts";
import type { Claim } from "../engine/claim.ts";
import type { Events } from "../engine/events.ts";
import type { Transactions } from "../engine/transaction/transactions.ts";
import type { Answer, HeaderList } from "./answer.ts";
import type { HttpPolicy } from "./policy.ts";
import { encodeOmitted } from "./recorded.ts";
import type { Captured } from "./recorded.ts";
import { recordedBytes } from "./recording/redact.ts";

/** What a handler can ask of its own execution, and say about its own response. */
export interface Idempotency {
  readonly key: string;
  readonly scope: string;
  /** 1 for the first execution under this key, 2 for the next after a release or takeover. */
  readonly attempt: number;
  /** Grows with every claim: hand it to resources that can refuse older writers. */
  readonly fence: number;
  /** Aborts when the lease is lost. */
  readonly signal: AbortSignal;
  /** Marks the point of no return; rejects when the irreversible step must not be started. */
  readonly commit: () => Promise<void>;
  /** A stable key for a downstream call: the same on every attempt. */
  readonly deriveKey: (name: string) => string;
  /** Remembers a finished step under the key, so that a later attempt resumes behind it. */
  readonly step: Claim["step"];
  /**
   * The transaction of this execution, typed by where it comes from: what the route was given as
   * its option `transaction`. Throws `TypeError` for anything else.
   */
  readonly transaction: <Tx>(from: Transactions<Tx>) => Tx;
  /** Record this response whatever its status (B-74). */
  readonly record: () => void;
  /** Do not record this response: a retry executes again (B-74). */
  readonly skip: () => void;
  /** Keep this response for another time than the route's `retention`. */
  readonly retention: (duration: Duration) => void;
}

export interface Execution {
  readonly idempotency: Idempotency;
  /** Headers of the layer for the response of this execution, to be set before it begins. */
  readonly headers: HeaderList;
  readonly maxRecordedBytes: number;
  /** Whether `settle` may ask for another answer: as long as it can, the head must not leave. */
  readonly isReplaceable: boolean;
  /** Whether a response of this status would be recorded now. */
  readonly records: (status: number) => boolean;
  /**
   * The handler has thrown: a transaction is rolled back, whatever the status of the answer that is
   * made of it. Elsewhere the status decides.
   */
  readonly fail: () => void;
  /** The response was ended by somebody else than the handler, which is still at work (B-79). */
  readonly detach: () => void;
  /**
   * Ends the claim with the response; resolves when its last byte may leave, or to the answer that
   * must leave instead because the transaction was not committed. Never rejects.
   */
  readonly settle: (captured: Captured) => Promise<Answer | undefined>;
  /** The response broke off: the key is free, or in doubt after `commit()`. Never rejects. */
  readonly release: () => Promise<void>;
}

interface ExecutionFacts {
  readonly key: string;
  readonly scope: string;
  readonly events: Events;
}

// True whether nothing was committed or nobody knows yet; the cause is told by an event.
const notCommitted =
  "The transaction of this operation was not acknowledged. Retry with the same key: it is never " +
  "executed twice.";

/** The execution of a claim under a policy. */
export function executionOf(
  claim: Claim,
  policy: HttpPolicy,
  { key, scope, events }: ExecutionFacts,
): Execution {
  let isRecorded = policy.record;
  let { retentionMs } = claim;
  const { attempt, fence, signal, commit, deriveKey, step } = claim;
  return {
    idempotency: {
      key,
      scope,
      attempt,
      fence,
      signal,
      commit,
      deriveKey,
      step,
      transaction: <Tx>(from: Transactions<Tx>): Tx => {
        const isOwn = policy.transaction !== undefined && Object.is(from, policy.transaction);
        if (isOwn) return claim.transaction as Tx;
        throw new TypeError(
          "idempotency.transaction() takes what the route was given as its option transaction.",
        );
      },
      record: () => (isRecorded = () => true),
      skip: () => (isRecorded = () => false),
      retention: (duration) => (retentionMs = durationMs(duration, "retention")),
    },
    headers: policy.firstHeaders({ key, attempt, retentionMs }),
    maxRecordedBytes: policy.maxRecordedBytes,
    isReplaceable: policy.transaction !== undefined,
    records: (status) => isRecorded(status),
    fail: () => {
      if (policy.transaction !== undefined) isRecorded = () => false;
    },
    detach: () => claim.detach(),
    settle: async ({ status, headers, body }) => {
      if (!isRecorded(status)) {
        await claim.release();
        return undefined;
      }
      const result =
        body === undefined
          ? encodeOmitted(status)
          : recordedBytes({ status, headers, body }, policy, { events, claim });
      return claim.complete(result, retentionMs).then(
        () => undefined,
        () => policy.problem("store-unavailable", { detail: notCommitted }),
      );
    },
    release: async () => void (await claim.release()),
  };
}
