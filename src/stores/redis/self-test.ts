/**
 * The start-up proof: the server is fit to keep records, and the client passes commands through
 * whole.
 */
import { randomUUID } from "node:crypto";
import { LatchkeyError } from "../../errors.ts";
import type { Fingerprint, OwnerToken, RecordId } from "../../machine/record.ts";
import type { Store } from "../store.ts";
import type { Send } from "./client.ts";

/** Refuses an old server, a replica, and (unless allowed) one that may evict records. */
export async function checkServer(send: Send, allowVolatile: boolean): Promise<void> {
  const info = await infoOf(send);
  if (info === undefined) return;
  const field = (name: string): string =>
    new RegExp(`^${name}:(.*?)\r?$`, "m").exec(info)?.[1] ?? "";
  const version = field("redis_version");
  if (!(Number.parseInt(version, 10) >= 7)) {
    throw unsuitable(`Redis ${version} is too old. Use Redis or Valkey 7.0 or newer.`);
  }
  if (field("role") !== "master") {
    throw unsuitable("This Redis is a replica. Connect to the master.");
  }
  const policy = field("maxmemory_policy");
  if (policy !== "noeviction" && !allowVolatile) {
    throw unsuitable(
      `This Redis may evict records (maxmemory-policy ${policy}). Set it to noeviction, ` +
        "or accept forgotten payments with allowVolatile: true.",
    );
  }
}

// An ACL may forbid looking: then an operator has to vouch for the server, and is told so.
async function infoOf(send: Send): Promise<string | undefined> {
  try {
    return String(await send("INFO", []));
  } catch (error) {
    const { cause } = error as { readonly cause?: unknown };
    if (!(cause instanceof Error && cause.message.startsWith("NOPERM"))) throw error;
    process.emitWarning(
      "Redis forbids INFO: that it is a master, 7.0 or newer, and never evicts is unverified.",
      "LatchkeyWarning",
    );
    return undefined;
  }
}

/** Runs one record through its life: binary values, conditions and expiries must come through. */
export async function checkClient(
  store: Store,
  send: Send,
  keyOf: (id: RecordId) => string,
): Promise<void> {
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
    const ttlMs = Number(await send("PTTL", [keyOf(id)]));
    const same = replay.kind === "completed" && Buffer.compare(replay.result, result) === 0;
    const exclusive = granted.kind === "claimed" && second.kind === "in-progress";
    if (exclusive && recorded.kind === "recorded" && same && ttlMs > 0 && ttlMs <= 10_000) return;
  } finally {
    await store.forget(id);
  }
  throw unsuitable(
    "The Redis client failed the self-test: claims, bytes or expiries came through changed. " +
      "Use a plain ioredis or node-redis client, without transforming wrappers.",
  );
}

function unsuitable(message: string): LatchkeyError {
  return new LatchkeyError("store-unsuitable", message);
}
