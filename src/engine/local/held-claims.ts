/**
 * The claims that this engine holds: a duplicate of the same request is refused without asking the
 * store. A wrong answer from here is a refusal too many, never an execution; the heartbeat corrects
 * it within a third of a lease.
 */
import type { ClaimReply, Fingerprint, RecordId } from "../../machine/record.ts";
import type { Runtime } from "../runtime.ts";
import { isSame } from "./same.ts";

export interface HeldClaim {
  readonly fingerprint: Fingerprint;
  /** Monotonic, from before the claim was asked for. */
  readonly claimedAtMs: number;
  /** Monotonic and never later than the store's own view: from before the latest renewal. */
  readonly leaseEndsAtMs: () => number;
}

type InProgress = Extract<ClaimReply, { readonly kind: "in-progress" }>;

export interface HeldClaims {
  /** From now on its duplicates are refused here; returns what ends that. */
  readonly enter: (id: RecordId, claim: HeldClaim) => () => void;
  /** What the store would say; `undefined` where it must be asked. */
  readonly find: (id: RecordId, fingerprint: Fingerprint) => InProgress | undefined;
}

/** No claims yet. At most as many as there are handlers at work. */
export function createHeldClaims(runtime: Runtime): HeldClaims {
  const held = new Map<RecordId, HeldClaim>();
  return {
    enter: (id, claim) => {
      held.set(id, claim);
      return () => {
        // A later claim of the same record may have taken its place.
        if (held.get(id) === claim) held.delete(id);
      };
    },
    find: (id, fingerprint) => {
      const claim = held.get(id);
      if (claim === undefined || !isSame(claim.fingerprint, fingerprint)) return undefined;
      const nowMs = runtime.nowMs();
      const retryAfterMs = claim.leaseEndsAtMs() - nowMs;
      if (retryAfterMs <= 0) return undefined;
      const runningForMs = Math.floor(nowMs - claim.claimedAtMs);
      return { kind: "in-progress", retryAfterMs: Math.ceil(retryAfterMs), runningForMs };
    },
  };
}
