/**
 * What must be true of every single step of the machine, whatever the history: checked by the
 * property tests on the pure function and by the conformance suite on real stores. Pure; returns
 * sentences instead of throwing.
 */
import type { StoredRecord } from "./record.ts";

type Before = StoredRecord | undefined;

/**
 * The broken rules of one step, as sentences; empty when all hold. `nowMs` is the store's clock.
 */
export function brokenInvariants(before: Before, after: Before, nowMs: number): readonly string[] {
  const broken: string[] = [];
  const live = before !== undefined && nowMs < before.expiresAtMs;
  if (after !== undefined) checkRecord(after, broken);
  if (before === undefined || after === undefined) return broken;
  if (after.fence < before.fence) broken.push("a fence went back");
  if (after.owner !== before.owner && after.fence <= before.fence) {
    broken.push("a new owner did not get a greater fence");
  }
  if (!live) return broken;
  if (after.fingerprint !== before.fingerprint)
    broken.push("a live record changed its fingerprint");
  if (before.state === "completed" && after !== before)
    broken.push("a completed record was changed");
  if (!keepsSteps(before, after)) broken.push("a finished step was changed or forgotten");
  const told = before.resolutions ?? [];
  if (told.some((one, index) => after.resolutions?.[index] !== one)) {
    broken.push("an operator's word was changed or forgotten");
  }
  if (isCommitted(before) && after.owner !== before.owner) {
    broken.push("a committed record was given to another owner");
  }
  if (before.state === "in-progress" && after.owner !== before.owner) {
    const lapsed = nowMs >= Math.min(before.leaseEndsAtMs, nowMs + before.leaseMs);
    if (!lapsed) broken.push("a live lease was taken over");
    if (before.onAbandoned === "in-doubt") broken.push("an in-doubt claim was taken over");
  }
  return broken;
}

function checkRecord(record: StoredRecord, broken: string[]): void {
  if (!Number.isSafeInteger(record.fence)) broken.push("a fence is no safe integer");
  if (record.attempt < 1) broken.push("an attempt is below 1");
  if (record.state === "in-progress" && record.expiresAtMs < record.leaseEndsAtMs) {
    broken.push("a record expires before its lease");
  }
}

function keepsSteps(before: StoredRecord, after: StoredRecord): boolean {
  if (before.state === "completed" || after.state === "completed") return true;
  const { steps = {} } = after;
  return Object.entries(before.steps ?? {}).every(([name, result]) => steps[name] === result);
}

function isCommitted(record: StoredRecord): boolean {
  return (record.state === "in-progress" || record.state === "in-doubt") && record.committed;
}
