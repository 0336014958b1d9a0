/**
 * The nouns of the state machine: records, commands and replies. Only types and the branded strings
 * live here; what a command does to a record is in `transition.ts`, and how a record is stored is
 * each store's own matter.
 */

/**
 * The first 192 bits of SHA-256 over scope, operation and key (base64url): the only name a store
 * knows a record by.
 */
export type RecordId = string & { readonly brand: "RecordId" };
/** Random token that says whose claim it is; every write is checked against it. */
export type OwnerToken = string & { readonly brand: "OwnerToken" };
/**
 * The first 192 bits of SHA-256 over what was asked (base64url): the same key with another
 * fingerprint is a mismatch.
 */
export type Fingerprint = string & { readonly brand: "Fingerprint" };
/** What happens to an uncommitted record whose lease ended: another owner may run it, or nobody. */
export type OnAbandoned = "takeover" | "in-doubt";
/** Results of the finished steps of the work, by name. */
export type Steps = Readonly<Record<string, Uint8Array>>;

/** An operator's word on a record in doubt, kept with the record. */
export interface Resolution {
  readonly outcome: "completed" | "failed" | "not-executed";
  /** Who said so. */
  readonly by: string;
  /** Why, or how it was found out. */
  readonly note: string;
  readonly atMs: number;
}

interface RecordBase {
  readonly fingerprint: Fingerprint;
  /** What the record is about, for operators ("POST /payments"); never a key or a body. */
  readonly operation: string;
  /**
   * Grows with every claim of this record, also across expiry: microseconds of the store's clock.
   */
  readonly fence: number;
  /** How many claims this record has seen, from 1. */
  readonly attempt: number;
  /** The latest owner. After release it only serves to recognise a resent release. */
  readonly owner: OwnerToken;
  readonly claimedAtMs: number;
  /** When the record is forgotten (store's clock). Never before its lease ends. */
  readonly expiresAtMs: number;
  /** The audit trail, oldest first; absent when nobody has resolved anything. */
  readonly resolutions?: readonly Resolution[];
}

/** What a record keeps until its work is completed, also over a takeover and a release. */
interface UnfinishedBase extends RecordBase {
  /** Steps that need not be done again; absent when there are none. */
  readonly steps?: Steps;
}

/** An owner is at work, and says so by renewing its lease. */
export interface InProgressRecord extends UnfinishedBase {
  readonly state: "in-progress";
  readonly leaseEndsAtMs: number;
  readonly leaseMs: number;
  readonly retentionMs: number;
  readonly onAbandoned: OnAbandoned;
  /** The owner has passed its point of no return: nobody else may ever run this. */
  readonly committed: boolean;
  /** This claim was granted over an owner whose lease had ended. */
  readonly takeover: boolean;
}

/** The work is done; its result answers every further request until the retention ends. */
export interface CompletedRecord extends RecordBase {
  readonly state: "completed";
  readonly completedAtMs: number;
  readonly result: Uint8Array;
}

/** The owner gave up without an effect; the same fingerprint may claim again. */
export interface ReleasedRecord extends UnfinishedBase {
  readonly state: "released";
}

/** Whether the work happened is unknown; only its owner or an operator can say. */
export interface InDoubtRecord extends UnfinishedBase {
  readonly state: "in-doubt";
  readonly committed: boolean;
  readonly doubtedAtMs: number;
}

export type StoredRecord = InProgressRecord | CompletedRecord | ReleasedRecord | InDoubtRecord;

export interface ClaimCommand {
  readonly kind: "claim";
  readonly owner: OwnerToken;
  readonly fingerprint: Fingerprint;
  readonly operation: string;
  readonly leaseMs: number;
  readonly retentionMs: number;
  readonly onAbandoned: OnAbandoned;
}
export interface RenewCommand {
  readonly kind: "renew";
  readonly owner: OwnerToken;
  readonly leaseMs: number;
}
export interface CommitCommand {
  readonly kind: "commit";
  readonly owner: OwnerToken;
}
export interface CompleteCommand {
  readonly kind: "complete";
  readonly owner: OwnerToken;
  readonly result: Uint8Array;
  readonly retentionMs: number;
}
export interface ReleaseCommand {
  readonly kind: "release";
  readonly owner: OwnerToken;
}
/** The owner has finished one step of its work: a later attempt need not do it again. */
export interface StepCommand {
  readonly kind: "step";
  readonly owner: OwnerToken;
  readonly name: string;
  readonly result: Uint8Array;
}
/**
 * An operator's word on a record in doubt: it did not happen, it did and this is its result, or it
 * failed for good and this tells so.
 */
export interface ResolveCommand {
  readonly kind: "resolve";
  /** The attempt that was looked into: a record that has gone through another one is left alone. */
  readonly attempt: number;
  readonly by: string;
  readonly note: string;
  readonly outcome:
    | { readonly kind: "not-executed" }
    | {
        readonly kind: "completed" | "failed";
        readonly result: Uint8Array;
        readonly retentionMs: number;
      };
}

export type Command =
  | ClaimCommand
  | RenewCommand
  | CommitCommand
  | StepCommand
  | CompleteCommand
  | ReleaseCommand
  | ResolveCommand;

export type ClaimReply =
  | {
      readonly kind: "claimed";
      readonly fence: number;
      readonly attempt: number;
      readonly takeover: boolean;
      /** What earlier attempts have finished. */
      readonly steps: Steps;
    }
  | {
      readonly kind: "in-progress";
      /** What is left of the owner's lease. */
      readonly retryAfterMs: number;
      /** How long the owner has been at work. */
      readonly runningForMs: number;
    }
  | {
      readonly kind: "completed";
      readonly result: Uint8Array;
      readonly completedAtMs: number;
      /** How long the result is still kept. */
      readonly expiresInMs: number;
    }
  | { readonly kind: "mismatch" }
  | { readonly kind: "in-doubt"; readonly operation: string };
export type LeaseLost = { readonly kind: "lease-lost" };
export type RenewReply = { readonly kind: "renewed" } | LeaseLost;
export type CommitReply = { readonly kind: "committed" } | LeaseLost;
export type StepReply = { readonly kind: "recorded" } | LeaseLost;
export type CompleteReply = { readonly kind: "recorded" } | LeaseLost;
/** `in-doubt`: the owner had committed, so its release cannot free the record. */
export type ReleaseReply =
  | { readonly kind: "released" }
  | { readonly kind: "in-doubt" }
  | LeaseLost;
export type ResolveReply = { readonly kind: "resolved" } | { readonly kind: "not-in-doubt" };

/** The reply that belongs to each kind of command. */
export interface ReplyTo {
  readonly claim: ClaimReply;
  readonly renew: RenewReply;
  readonly commit: CommitReply;
  readonly step: StepReply;
  readonly complete: CompleteReply;
  readonly release: ReleaseReply;
  readonly resolve: ResolveReply;
}
