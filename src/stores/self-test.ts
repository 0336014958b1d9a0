/**
 * The start-up proof of a client that somebody hands to a store: commands, text and bytes must come
 * through it unchanged.
 */
import { randomUUID } from "node:crypto";
import type { Fingerprint, OwnerToken, RecordId } from "../machine/record.ts";
import type { Store } from "./store.ts";

/** What the proof asks of a store. */
export type Proven = Pick<Store, "claim" | "get" | "complete" | "forget">;

/** Runs one record through its life and forgets it; whether all of it came through whole. */
export async function comesThrough(store: Proven): Promise<boolean> {
  const id = `self-test-${randomUUID()}` as RecordId;
  try {
    return await livesWell(store, id);
  } finally {
    await store.forget(id);
  }
}

const retentionMs = 10_000;

async function livesWell(store: Proven, id: RecordId): Promise<boolean> {
  const owner = randomUUID() as OwnerToken;
  const claim = {
    owner,
    fingerprint: "self-test" as Fingerprint,
    operation: "self-test ü",
    leaseMs: 10_000,
    retentionMs,
    onAbandoned: "takeover",
  } as const;
  const result = Uint8Array.from({ length: 256 }, (_, index) => index);
  const rival = (): typeof claim => ({ ...claim, owner: randomUUID() as OwnerToken });
  const granted = await store.claim(id, claim);
  const second = await store.claim(id, rival());
  const kept = await store.get(id);
  const recorded = await store.complete(id, { owner, result, retentionMs });
  const replay = await store.claim(id, rival());
  if (granted.kind !== "claimed" || second.kind !== "in-progress") return false;
  if (recorded.kind !== "recorded" || replay.kind !== "completed") return false;
  const isTimely = replay.expiresInMs > 0 && replay.expiresInMs <= retentionMs;
  const isSame = Buffer.compare(replay.result, result) === 0;
  return isTimely && isSame && kept?.operation === claim.operation;
}
