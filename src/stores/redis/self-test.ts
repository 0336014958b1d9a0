/** The start-up proof of a client: it passes commands and their bytes through unchanged. */
import { randomUUID } from "node:crypto";
import { LatchkeyError } from "../../errors.ts";
import type { Fingerprint, OwnerToken, RecordId } from "../../machine/record.ts";
import type { Store } from "../store.ts";

/** Runs one record through its life: binary values, conditions and expiries must come through. */
export async function checkClient(store: Store): Promise<void> {
  const id = `self-test-${randomUUID()}` as RecordId;
  const owner = randomUUID() as OwnerToken;
  const claim = {
    owner,
    fingerprint: "self-test" as Fingerprint,
    operation: "self-test",
    leaseMs: 10_000,
    retentionMs: 10_000,
    onAbandoned: "takeover",
  } as const;
  const result = Uint8Array.from({ length: 256 }, (_, index) => index);
  const rival = (): typeof claim => ({ ...claim, owner: randomUUID() as OwnerToken });
  try {
    const granted = await store.claim(id, claim);
    const second = await store.claim(id, rival());
    const recorded = await store.complete(id, { owner, result, retentionMs: 10_000 });
    const replay = await store.claim(id, rival());
    const exclusive = granted.kind === "claimed" && second.kind === "in-progress";
    if (exclusive && recorded.kind === "recorded" && replay.kind === "completed") {
      const { expiresInMs } = replay;
      const timely = expiresInMs > 0 && expiresInMs <= 10_000;
      if (timely && Buffer.compare(replay.result, result) === 0) return;
    }
  } finally {
    await store.forget(id);
  }
  throw new LatchkeyError(
    "store-unsuitable",
    "The Redis client failed the self-test: claims, bytes or expiries came through changed. " +
      "Use the client as its package gives it, without transforming wrappers.",
  );
}
