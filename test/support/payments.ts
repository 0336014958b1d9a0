/** Payments for tests of what a store keeps: they record them, and ask for them afterwards. */
import type { Fingerprint, OwnerToken, RecordId } from "../../src/machine/record.ts";
import type { Store } from "../../src/stores/store.ts";

export const payments = 120;
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

/** Claims and completes them, some at a time; `tell` hears of each step once it is acknowledged. */
export async function recordPayments(
  store: Store,
  tell: (words: string) => unknown,
): Promise<void> {
  const pay = async (index: number): Promise<void> => {
    await store.claim(idOf(index), claim);
    await tell(`claimed ${index}.`);
    const result = Buffer.from(receiptOf(index));
    await store.complete(idOf(index), { owner, result, retentionMs: 600_000 });
    await tell(`recorded ${index}.`);
  };
  for (let start = 0; start < payments; start += 3) {
    await Promise.all([0, 1, 2].map((more) => pay(start + more)));
  }
}

/** Where an acknowledged step is not what a rival finds in the store: then a payment may repeat. */
export async function forgottenIn(
  store: Store,
  wasTold: (words: string) => boolean,
): Promise<readonly string[]> {
  const forgotten: string[] = [];
  for (let index = 0; index < payments; index += 1) {
    const step = ["recorded", "claimed"].find((one) => wasTold(`${one} ${index}.`));
    if (step === undefined) continue;
    const reply = await store.claim(idOf(index), { ...claim, owner: "rival" as OwnerToken });
    const isReceipt =
      reply.kind === "completed" && Buffer.from(reply.result).toString() === receiptOf(index);
    const isKept = isReceipt || (step === "claimed" && reply.kind === "in-progress");
    if (!isKept) forgotten.push(`${step} ${index}, and ${reply.kind} after the power cut`);
  }
  return forgotten;
}
