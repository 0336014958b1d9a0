/** What was acknowledged before power was cut, and what is left of it afterwards. */
import type { Store } from "../../src/stores/store.ts";
import { claimPayment, completePayment, findPayment } from "./payments.ts";

/** How many payments are recorded while everything is traced. */
export const payments = 120;

/** Claims and completes them, some at a time; `tell` hears of each step once it is acknowledged. */
export async function recordPayments(
  store: Store,
  tell: (words: string) => unknown,
): Promise<void> {
  const pay = async (index: number): Promise<void> => {
    await claimPayment(store, index);
    await tell(`claimed ${index}.`);
    await completePayment(store, index);
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
    const found = await findPayment(store, index);
    const isKept = found === "receipt" || (step === "claimed" && found === "in-progress");
    if (!isKept) forgotten.push(`${step} ${index}, and ${found} after the power cut`);
  }
  return forgotten;
}
