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
  CompletedRecord,
  OwnerToken,
  RecordId,
  ReleaseReply,
  RenewReply,
  ResolveCommand,
  ResolveReply,
  StepCommand,
  StepReply,
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
  /** Remembers one finished step of the work under the key, until the whole is completed. */
  step(id: RecordId, step: Omit<StepCommand, "kind">): Promise<StepReply>;
  complete(id: RecordId, completion: Completion): Promise<CompleteReply>;
  release(id: RecordId, owner: OwnerToken): Promise<ReleaseReply>;
  /** Of an attempt that is not the record's, or not in doubt, nothing is written. */
  resolve(id: RecordId, word: Omit<ResolveCommand, "kind">): Promise<ResolveReply>;
  /**
   * The record as a claim would find it, for operators and tests; `undefined` when absent or over.
   * Where a lease has ended that nobody may take over, it is in doubt, whether a claim has written
   * so or not.
   */
  get(id: RecordId): Promise<StoredRecord | undefined>;
  /**
   * Deletes a record whatever its state. For operators: the next request with this key executes.
   */
  forget(id: RecordId): Promise<boolean>;
  /**
   * The records of a state, or all, page by page, each as `get` has it; for operators. Rejects a
   * limit over 1000.
   */
  list(query?: ListQuery): Promise<RecordPage>;
  /**
   * Puts a record on the list of what somebody must look at. One note a record and reason, kept
   * for 30 days; a later one replaces it.
   */
  note(note: Note): Promise<void>;
  /** The notes, page by page. */
  attention(query?: PageQuery): Promise<NotePage>;
  /** Takes the notes on a record off the list; returns how many there were. */
  dismiss(id: RecordId): Promise<number>;
  /**
   * Where a store can: calls `onNudge` when the record may have been completed, released or
   * resolved; resolves once it is listening, to what ends it. A nudge, never the result.
   */
  watch?(id: RecordId, onNudge: () => void): Promise<() => void>;
  /** Deletes up to `limit` (default 1000) records whose retention is over; returns how many. */
  sweep(limit?: number): Promise<number>;
  /**
   * Proves that the store can be reached and is fit for its task; rejects with a clear error
   * otherwise.
   */
  check(): Promise<void>;
  /**
   * Where a store can: the same records through a transaction of the user's, which the user ends.
   * A claim through it is granted until then, needs no renewal, and is seen by nobody before the
   * COMMIT; after a rollback it has never been. A command that rejects must end in a rollback.
   */
  within?(transaction: unknown): Store;
  /** Whether this store is in a transaction of the user's. */
  readonly isTransaction?: true;
  /** Ends what the store itself opened; a client handed in by the user stays open. */
  close(): Promise<void>;
}

/** What an owner leaves behind: `retentionMs` counts from the completion. */
export interface Completion {
  readonly owner: OwnerToken;
  readonly result: Uint8Array;
  readonly retentionMs: number;
}

export interface PageQuery {
  /** Entries of a page. Default 100, at most 1000; it may have fewer, and on Redis a few more. */
  readonly limit?: number;
  /** The `next` of the page before. */
  readonly after?: string;
}
export interface ListQuery extends PageQuery {
  /** Only records that a claim would find in this state. */
  readonly state?: StoredRecord["state"];
}

/** A record as a claim would find it, without the bytes of its results. */
export type ListedRecord = ListedState<StoredRecord>;
type ListedState<State> = State extends CompletedRecord
  ? Omit<State, "result">
  : Omit<State, "steps">;
export interface RecordPage {
  readonly records: readonly { readonly id: RecordId; readonly record: ListedRecord }[];
  /** Records of this page that cannot be read by this version: locked, never free. */
  readonly unreadable: readonly RecordId[];
  /** Asks for the page after this one; absent after the last. An empty page may have one. */
  readonly next?: string;
}

/**
 * Why somebody must look at a record. Records in doubt are not noted: `list({ state: "in-doubt" })`
 * has them.
 */
export type NoteReason = "result-not-recorded" | "lease-lost" | "bypassed";
export interface Note {
  readonly id: RecordId;
  readonly reason: NoteReason;
  /** What the record is about, e.g. `POST /payments`; never a key or a body. */
  readonly operation: string;
}
export interface NotePage {
  readonly notes: readonly (Note & { readonly atMs: number })[];
  /** Asks for the page after this one; absent after the last. */
  readonly next?: string;
}
