/**
 * The contract every store keeps: each method is one atomic step, judged by the store's own clock,
 * and safe to resend with the same owner token. What a step means is in `machine/transition.ts`;
 * the conformance suite checks it.
 */
import type {
  ClaimCommand,
  ClaimReply,
  CommitReply,
  CompleteReply,
  OwnerToken,
  RecordId,
  ReleaseReply,
  RenewReply,
  ResolveCommand,
  ResolveReply,
  StoredRecord,
} from "../machine/record.ts";

/**
 * Keeps records. Rejections are `LatchkeyError`s: `store-unavailable` (nobody knows whether the
 * step was applied), `store-full`, `store-corrupt` (the record cannot be read: locked, never free),
 * `store-unsuitable`.
 */
export interface Store {
  /** For messages and the demo: `"memory"`, `"sqlite"`, `"redis"`. */
  readonly name: string;
  claim(id: RecordId, claim: Omit<ClaimCommand, "kind">): Promise<ClaimReply>;
  renew(id: RecordId, owner: OwnerToken, leaseMs: number): Promise<RenewReply>;
  commit(id: RecordId, owner: OwnerToken): Promise<CommitReply>;
  complete(id: RecordId, completion: Completion): Promise<CompleteReply>;
  release(id: RecordId, owner: OwnerToken): Promise<ReleaseReply>;
  resolve(id: RecordId, outcome: ResolveCommand["outcome"]): Promise<ResolveReply>;
  /** The record as it stands, for operators and tests; `undefined` when absent or over. */
  get(id: RecordId): Promise<StoredRecord | undefined>;
  /**
   * Deletes a record whatever its state. For operators: the next request with this key executes.
   */
  forget(id: RecordId): Promise<boolean>;
  /** Deletes up to `limit` (default 1000) records whose retention is over; returns how many. */
  sweep(limit?: number): Promise<number>;
  /**
   * Proves that the store can be reached and is fit for its task; rejects with a clear error
   * otherwise.
   */
  check(): Promise<void>;
  /** Ends what the store itself opened; a client handed in by the user stays open. */
  close(): Promise<void>;
}

/** What an owner leaves behind: `retentionMs` counts from the completion. */
export interface Completion {
  readonly owner: OwnerToken;
  readonly result: Uint8Array;
  readonly retentionMs: number;
}
