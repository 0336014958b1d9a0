/** Comparing fingerprints in this process. */
import { timingSafeEqual } from "node:crypto";
import type { Fingerprint } from "../../machine/record.ts";

/** Whether two fingerprints are equal; how long that takes does not tell where they differ. */
export function isSame(one: Fingerprint, other: Fingerprint): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
