/**
 * A granted claim: what a handler holds while it works. Its writes are guarded by the owner token;
 * the recording of its result is retried while the heartbeat goes on, and the handler's outcome is
 * never replaced by a store's error.
 */
import { LatchkeyError } from "../errors.ts";
import type {
  ClaimReply,
  CompleteReply,
  OwnerToken,
  RecordId,
  ReleaseReply,
} from "../machine/record.ts";
import type { Store } from "../stores/store.ts";
import type { Events } from "./events.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { derivedKey } from "./key.ts";
import type { Runtime } from "./runtime.ts";
import { persist } from "./store-call.ts";

/**
 * How a settling write went: `pending` means that the store did not answer in time and the engine
 * keeps trying.
 */
export type Settled<Reply extends { readonly kind: string }> = Reply["kind"] | "pending";

export interface Claim {
  readonly operation: string;
  /** Grows with every claim of this record: hand it to resources that can refuse older writers. */
  readonly fence: number;
  /** 1 for the first execution under this key, 2 for the next after a release or takeover. */
  readonly attempt: number;
  /** The previous owner's lease had ended. */
  readonly takeover: boolean;
  /** Aborts when the lease is lost. Advisory: safety comes from `commit()`. */
  readonly signal: AbortSignal;
  /**
   * Marks the point of no return: from here nobody else ever executes this key by itself. Call it
   * right before the irreversible step. Rejects with `lease-lost` or `store-unavailable`: then the
   * step must not be started.
   */
  commit(): Promise<void>;
  /**
   * A stable key for a downstream call: the same on every attempt, so a takeover repeats it
   * harmlessly.
   */
  deriveKey(name: string): string;
  /** Records the result. Resolves within the store timeout; never rejects. */
  complete(result: Uint8Array, retentionMs?: number): Promise<Settled<CompleteReply>>;
  /**
   * Gives the key back for a retry; after `commit()` the record goes to in doubt instead. Never
   * rejects.
   */
  release(): Promise<Settled<ReleaseReply>>;
}

export interface ClaimContext {
  readonly store: Store;
  readonly runtime: Runtime;
  readonly events: Events;
  readonly id: RecordId;
  readonly owner: OwnerToken;
  readonly operation: string;
  readonly leaseMs: number;
  readonly retentionMs: number;
  readonly storeTimeoutMs: number;
  /** Keeps `engine.close()` waiting for a write in the background. */
  readonly track: (work: Promise<unknown>) => void;
}

/** How many leases a settling write is retried for before it is given up. */
const patienceLeases = 10;

/** The claim of a `claimed` reply; its heartbeat starts at once. */
export function holdClaim(
  context: ClaimContext,
  granted: Extract<ClaimReply, { readonly kind: "claimed" }>,
): Claim {
  const { store, runtime, events, id, owner, operation, leaseMs, storeTimeoutMs } = context;
  const { fence, attempt, takeover } = granted;
  const abort = new AbortController();
  const heartbeat = startHeartbeat({
    runtime,
    leaseMs,
    limitMs: storeTimeoutMs,
    renew: () => store.renew(id, owner, leaseMs),
    onLost: lose,
  });

  function lose(): void {
    if (abort.signal.aborted) return;
    abort.abort(leaseLost());
    events.emit({ kind: "lease-lost", operation, attempt });
  }

  async function settle<Reply extends { readonly kind: string }>(
    call: () => Promise<Reply>,
  ): Promise<Settled<Reply>> {
    let tellFailed = (): void => {};
    const failed = new Promise<"pending">((resolve) => (tellFailed = () => resolve("pending")));
    const onFailure = (cause: LatchkeyError): void => {
      events.emit({ kind: "complete-failed", operation, attempt, cause });
      tellFailed();
    };
    const written = persist(runtime, {
      call,
      limitMs: storeTimeoutMs,
      patienceMs: leaseMs * patienceLeases,
      onFailure: onceOnly(onFailure),
    }).then(
      (reply): Settled<Reply> => {
        if (reply.kind === "lease-lost") lose();
        return reply.kind;
      },
      (): Settled<Reply> => "pending", // told as complete-failed; the lease ends by itself
    );
    const done = written.finally(() => heartbeat.stop());
    context.track(done);
    return Promise.race([done, failed]);
  }

  return {
    operation,
    fence,
    attempt,
    takeover,
    signal: abort.signal,
    deriveKey: (name) => derivedKey(id, name),
    commit: async () => {
      const call = () => store.commit(id, owner);
      const patience = { limitMs: storeTimeoutMs, patienceMs: storeTimeoutMs, attempts: 3 };
      const reply = await persist(runtime, { call, ...patience });
      if (reply.kind === "committed") return;
      lose();
      throw leaseLost();
    },
    complete: (result, retentionMs = context.retentionMs) =>
      settle(() => store.complete(id, { owner, result, retentionMs })),
    release: () => settle(() => store.release(id, owner)),
  };
}

function onceOnly(action: (error: LatchkeyError) => void): (error: LatchkeyError) => void {
  let called = false;
  return (error) => {
    if (!called) action(error);
    called = true;
  };
}

function leaseLost(): LatchkeyError {
  return new LatchkeyError(
    "lease-lost",
    "The lease was lost and another owner may hold it. Stop before the irreversible step.",
  );
}
