/**
 * A granted claim: what a handler holds while it works. Its writes are guarded by the owner token;
 * the recording of its result is retried while the heartbeat goes on, and the handler's outcome is
 * never replaced by a store's error.
 */
import { LatchkeyError } from "../errors.ts";
import type {
  ClaimReply,
  CommitReply,
  Fingerprint,
  OwnerToken,
  RecordId,
  StepReply,
} from "../machine/record.ts";
import type { NoteReason, Store } from "../stores/store.ts";
import type { EngineEventKind, Events } from "./events.ts";
import { startHeartbeat } from "./heartbeat.ts";
import type { Heartbeat } from "./heartbeat.ts";
import type { HeldClaims } from "./local/held-claims.ts";
import type { Pace } from "./pace.ts";
import { sealedOrOmitted } from "./results/result-codec.ts";
import type { ResultCodec } from "./results/result-codec.ts";
import type { Runtime } from "./runtime.ts";
import { createSettler } from "./settle.ts";
import type { Settled } from "./settle.ts";
import { createSteps } from "./steps.ts";
import type { Step } from "./steps.ts";
import { persist } from "./store-call.ts";
import { stepWithin } from "./transaction/step-within.ts";
import type { Names } from "./values/key.ts";
import type { Waiting } from "./waiting.ts";

export interface Claim {
  readonly operation: string;
  /** Grows with every claim of this record: hand it to resources that can refuse older writers. */
  readonly fence: number;
  /** 1 for the first execution under this key, 2 for the next after a release or takeover. */
  readonly attempt: number;
  /** The previous owner's lease had ended. */
  readonly takeover: boolean;
  /** How long the result will be kept, in ms. */
  readonly retentionMs: number;
  /** Aborts when the lease is lost. Advisory: safety comes from `commit()`. */
  readonly signal: AbortSignal;
  /** The transaction that the engine has begun for this claim, where it was told to. */
  readonly transaction?: unknown;
  /**
   * Marks the point of no return: from here nobody else ever executes this key by itself. Call it
   * right before the irreversible step. Rejects with `lease-lost` or `store-unavailable`: then the
   * step must not be started.
   */
  readonly commit: () => Promise<void>;
  /**
   * Somebody else has answered for the handler (a timeout): it keeps its claim for ten leases at
   * the most, in case it never ends.
   */
  readonly detach: () => void;
  /**
   * A stable key for a downstream call: the same on every attempt, so a takeover repeats it
   * harmlessly.
   */
  readonly deriveKey: (name: string) => string;
  /**
   * Remembers a finished step under the key, so that a later attempt resumes behind it:
   * `await claim.step("charge", ({ key }) => bank.charge(order, key))`.
   */
  readonly step: Step;
  /**
   * Records the result. Resolves within the store timeout and never rejects; but in a transaction
   * it rejects when nothing was committed, or nobody knows. Of `complete` and `release` only the
   * first call counts.
   */
  complete(result: Uint8Array, retentionMs?: number): Promise<Settled>;
  /**
   * Gives the key back for a retry; after `commit()` the record goes to in doubt instead. In a
   * transaction of the engine's it rolls back. Never rejects.
   */
  release(): Promise<Settled>;
}

export interface ClaimContext {
  readonly store: Store;
  readonly runtime: Runtime;
  readonly events: Events;
  readonly pace: Pace;
  readonly waiting: Waiting;
  readonly held: HeldClaims;
  readonly names: Names;
  readonly results: ResultCodec;
  readonly id: RecordId;
  readonly fingerprint: Fingerprint;
  readonly owner: OwnerToken;
  /** When the claim was first asked for, monotonic. */
  readonly askedAtMs: number;
  readonly operation: string;
  readonly leaseMs: number;
  readonly retentionMs: number;
  readonly storeTimeoutMs: number;
  /** Keeps `engine.close()` waiting for a write in the background. */
  readonly track: (work: Promise<unknown>) => void;
}

/** The claim of a `claimed` reply; its heartbeat starts at once. */
export function holdClaim(
  context: ClaimContext,
  granted: Extract<ClaimReply, { readonly kind: "claimed" }>,
): Claim {
  const { store, runtime, id, fingerprint, owner, operation, leaseMs, storeTimeoutMs } = context;
  const { fence, attempt, takeover, steps } = granted;
  const lease = holdLease(context, attempt);
  const settler = settlerOf(context, attempt, lease);
  const settle: typeof settler = (call) => {
    lease.leave();
    return settler(call);
  };
  const deriveKey = (name: string): string => context.names.derivedKey(id, name);
  function seal(content: Uint8Array, ...part: readonly string[]): Uint8Array {
    const place = { id, fingerprint, part };
    const { bytes, refusal: cause } = sealedOrOmitted(content, place, context.results);
    if (cause !== undefined)
      context.events.emit({ kind: "seal-failed", operation, attempt, cause });
    return bytes;
  }

  async function guarded(call: () => Promise<CommitReply | StepReply>): Promise<void> {
    const patience = { limitMs: storeTimeoutMs, patienceMs: storeTimeoutMs, attempts: 3 };
    const reply = await persist(runtime, { call, ...patience });
    if (reply.kind === "lease-lost") throw lost();
  }
  function lost(): LatchkeyError {
    lease.lose(true);
    return leaseLost();
  }

  return {
    operation,
    fence,
    attempt,
    takeover,
    retentionMs: context.retentionMs,
    signal: lease.signal,
    detach: () => lease.heartbeat.limit(leaseMs * 10),
    deriveKey,
    step: createSteps({
      finished: steps,
      deriveKey,
      record: (name, bytes) => {
        const result = seal(bytes, "step", name);
        return guarded(() => store.step(id, { owner, name, result }));
      },
      recordWithin: (step) => stepWithin(context, { ...step, onLost: lost }),
    }),
    commit: () => guarded(() => store.commit(id, owner)),
    complete: (bytes, retentionMs = context.retentionMs) => {
      let result: Uint8Array | undefined; // sealed once, and not for a call that does not count
      return settle(async () => {
        result ??= seal(bytes, "result");
        return store.complete(id, { owner, result, retentionMs });
      });
    },
    release: () => settle(() => store.release(id, owner)),
  };
}

interface Lease {
  readonly signal: AbortSignal;
  readonly heartbeat: Heartbeat;
  /** `forGood`: another owner may have run meanwhile; somebody must look whether both did. */
  readonly lose: (forGood: boolean) => void;
  /** From here the store says what duplicates get, and no longer this process (B-25). */
  readonly leave: () => void;
  /** Wakes who waits for this owner in this process; it is none any more. */
  readonly disown: () => void;
}

function holdLease(context: ClaimContext, attempt: number): Lease {
  const { store, runtime, events, id, owner, operation, leaseMs, storeTimeoutMs } = context;
  const { fingerprint, askedAtMs } = context;
  const abort = new AbortController();
  const disown = context.waiting.own(id);
  function lose(forGood: boolean): void {
    leave();
    disown();
    if (forGood) note(context, "lease-lost");
    if (abort.signal.aborted) return;
    abort.abort(leaseLost());
    events.emit({ kind: "lease-lost", operation, attempt });
  }
  const heartbeat = startHeartbeat({
    runtime,
    leaseMs,
    limitMs: storeTimeoutMs,
    sinceMs: askedAtMs,
    renew: () => store.renew(id, owner, leaseMs),
    onLost: lose,
  });
  const { leaseEndsAtMs } = heartbeat;
  const leave = context.held.enter(id, { fingerprint, claimedAtMs: askedAtMs, leaseEndsAtMs });
  return { signal: abort.signal, heartbeat, lose, leave, disown };
}

function settlerOf(
  context: ClaimContext,
  attempt: number,
  { heartbeat, lose, disown }: Lease,
): ReturnType<typeof createSettler> {
  const { runtime, events, operation } = context;
  const startedAtMs = runtime.nowMs();
  const ended = Promise.withResolvers<void>();
  context.track(ended.promise);
  return createSettler({
    runtime,
    leaseMs: context.leaseMs,
    limitMs: context.storeTimeoutMs,
    track: context.track,
    onFailed: (cause) => events.emit({ kind: "complete-failed", operation, attempt, cause }),
    onSettled: (settled) => {
      heartbeat.stop();
      if (settled === "lease-lost") lose(true);
      if (settled === "pending") note(context, "result-not-recorded");
      if (settled === "recorded") context.pace.note(operation, runtime.nowMs() - startedAtMs);
      ended.resolve();
      disown();
      const kind = eventOf[settled];
      if (kind !== undefined) events.emit({ kind, operation, attempt });
    },
  });
}

/** Puts the record on the durable list of what somebody must look at, in the background. */
export function note(
  { store, runtime, id, operation, leaseMs, storeTimeoutMs, track }: NoteContext,
  reason: NoteReason,
): void {
  const call = () => store.note({ id, reason, operation });
  const noted = persist(runtime, { call, limitMs: storeTimeoutMs, patienceMs: leaseMs * 10 });
  track(noted.catch(() => undefined)); // the event has told of it; the store stayed away too long
}
export type NoteContext = Pick<
  ClaimContext,
  "store" | "runtime" | "id" | "operation" | "leaseMs" | "storeTimeoutMs" | "track"
>;

// A lost lease and a failed write have told of themselves.
const eventOf: Readonly<Record<Settled, EngineEventKind | undefined>> = {
  recorded: "executed",
  released: "released",
  "in-doubt": "in-doubt",
  "lease-lost": undefined,
  pending: undefined,
};

function leaseLost(): LatchkeyError {
  return new LatchkeyError(
    "lease-lost",
    "The lease was lost and another owner may hold it. Stop before the irreversible step.",
  );
}
