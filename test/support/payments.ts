/** Payments for tests of what a store keeps: they record them, and ask for them afterwards. */
import type { Fingerprint, OwnerToken, RecordId } from "../../src/machine/record.ts";
import type { Store } from "../../src/stores/store.ts";

const owner = "owner" as OwnerToken;
const claim = {
  owner,
  fingerprint: "f" as Fingerprint,
  operation: "POST /payments",
  leaseMs: 60_000,
  retentionMs: 600_000,
  onAbandoned: "takeover",
} as const;
const idOf = (index: number): RecordId => `payment-${index}` as RecordId;
const receiptOf = (index: number): string => `receipt ${index} ${"=".repeat(300)}`;

/** Claims a payment. */
export async function claimPayment(store: Store, index: number): Promise<void> {
  await store.claim(idOf(index), claim);
}

/** Records the receipt of a claimed payment. */
export async function completePayment(store: Store, index: number): Promise<void> {
  const result = Buffer.from(receiptOf(index));
  await store.complete(idOf(index), { owner, result, retentionMs: 600_000 });
}

/** What a rival finds: its `"receipt"`, or the reply to its claim; by `"claimed"` it would pay. */
export async function findPayment(store: Store, index: number): Promise<string> {
  const reply = await store.claim(idOf(index), { ...claim, owner: "rival" as OwnerToken });
  if (reply.kind !== "completed") return reply.kind;
  return Buffer.from(reply.result).toString() === receiptOf(index) ? "receipt" : "another result";
}
