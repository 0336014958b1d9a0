/** What the contract's tests are made of: a store, its clock, and the claim they start with. */
import type { ClaimCommand, Fingerprint, OwnerToken, RecordId } from "../machine/record.ts";
import type { Store } from "../stores/store.ts";
import type { Clock } from "./histories.ts";

export interface StoreUnderTest {
  readonly store: Store;
  readonly clock: Clock;
}
export type StoreTest = (subject: StoreUnderTest, id: RecordId) => Promise<void>;

/** A claim with a lease of 100 ms and a retention of 10 s. */
export function claimBy(
  owner: OwnerToken,
  change: Partial<ClaimCommand> = {},
): Omit<ClaimCommand, "kind"> {
  return {
    owner,
    fingerprint: "f" as Fingerprint,
    operation: "POST /r",
    leaseMs: 100,
    retentionMs: 10_000,
    onAbandoned: "takeover",
    ...change,
  };
}
