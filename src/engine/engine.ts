/**
 * The engine: runs the machine against a store in real time. It claims, keeps the lease alive,
 * records and releases; it knows no HTTP. Adapters use `begin`, plain code uses `run`.
 */
import { durationMs } from "../duration.ts";
import type { Duration } from "../duration.ts";
import { isLatchkeyError, LatchkeyError } from "../errors.ts";
import type { ClaimReply, Fingerprint, OnAbandoned, OwnerToken } from "../machine/record.ts";
import type { Store } from "../stores/store.ts";
import { holdClaim } from "./claim.ts";
import type { Claim, ClaimContext } from "./claim.ts";
import { decodeValue, encodeValue } from "./codec.ts";
import { createEvents } from "./events.ts";
import type { EventListener, Events } from "./events.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { checkKey, recordId } from "./key.ts";
import { createPace } from "./pace.ts";
import { systemRuntime } from "./runtime.ts";
import type { Runtime } from "./runtime.ts";
import { persist } from "./store-call.ts";

/** Defaults of every engine option. */
export const engineDefaults: Readonly<{
  lease: Duration;
  retention: Duration;
  storeTimeout: Duration;
  onAbandoned: OnAbandoned;
}> = Object.freeze({
  lease: "30s",
  retention: "24h",
  storeTimeout: "2s",
  onAbandoned: "takeover",
});

export interface EngineOptions {
  readonly store: Store;
  /**
   * How long a silent owner blocks its key. Renewed every third of it. Default `"30s"`, at least
   * 100 ms.
   */
  readonly lease?: Duration;
  /** How long a result is kept. Default `"24h"`. */
  readonly retention?: Duration;
  /** Our deadline on every store call; a failed claim is tried again as long. Default `"2s"`. */
  readonly storeTimeout?: Duration;
  /** What happens when an uncommitted owner's lease ends. Default `"takeover"`. */
  readonly onAbandoned?: OnAbandoned;
  /** Told of every outcome. */
  readonly onEvent?: EventListener;
  /** Clock, randomness and timers; for tests. */
  readonly runtime?: Runtime;
}

/** One intent: who asks (scope), for what (operation), under which key, with what (fingerprint). */
export interface Intent {
  readonly operation: string;
  readonly scope: string;
  readonly key: string;
  readonly fingerprint: Fingerprint;
}

/** The store's answer to an intent. Never a rejection for what the protocol foresees. */
export type Admission =
  | { readonly kind: "execute"; readonly claim: Claim }
  | Exclude<ClaimReply, { readonly kind: "claimed" }>
  | { readonly kind: "unavailable"; readonly error: LatchkeyError };

export interface RunRequest {
  readonly operation: string;
  readonly key: string;
  /** Whose key it is. Default `"public"`: one key space for all. */
  readonly scope?: string;
  /**
   * What the key is bound to: the same key with another input is refused. JSON, bytes, or nothing.
   */
  readonly input?: unknown;
}

export interface Engine extends Events {
  /** Claims the intent and says what to do. Rejects with `key-invalid` before any store call. */
  begin(intent: Intent): Promise<Admission>;
  /**
   * Runs `work` once for its key and returns its value, or the recorded one. Rejects with what
   * `work` throws (the key is released) or a `LatchkeyError`: `in-progress`, `key-reused`,
   * `outcome-unknown`, `result-omitted`, `store-…`.
   */
  run<T>(request: RunRequest, work: (claim: Claim) => T | Promise<T>): Promise<T>;
  /**
   * Waits for running claims and background writes, at most `withinMs` (default 10 000). The store
   * stays open.
   */
  close(withinMs?: number): Promise<void>;
}

/** Creates an engine. Throws `TypeError` on a wrong option. */
export function createEngine(options: EngineOptions): Engine {
  if (typeof options?.store?.claim !== "function") {
    throw new TypeError(
      "createEngine needs { store }, e.g. createEngine({ store: memoryStore() }).",
    );
  }
  const { store, runtime = systemRuntime } = options;
  const leaseMs = durationMs(options.lease ?? engineDefaults.lease, "lease", 100);
  const retentionMs = durationMs(options.retention ?? engineDefaults.retention, "retention");
  const storeTimeoutMs = durationMs(
    options.storeTimeout ?? engineDefaults.storeTimeout,
    "storeTimeout",
  );
  const onAbandoned = checkOnAbandoned(options.onAbandoned ?? engineDefaults.onAbandoned);
  const events = createEvents(options.onEvent);
  const background = new Set<Promise<unknown>>();
  const pace = createPace();

  function track(work: Promise<unknown>): void {
    background.add(work);
    void work.finally(() => background.delete(work));
  }

  async function begin(intent: Intent): Promise<Admission> {
    const { operation, scope, fingerprint } = intent;
    const id = recordId(scope, operation, checkKey(intent.key));
    const owner = runtime.token() as OwnerToken;
    const context = {
      store,
      runtime,
      events,
      pace,
      id,
      owner,
      operation,
      leaseMs,
      retentionMs,
      storeTimeoutMs,
      track,
    };
    const command = { owner, fingerprint, operation, leaseMs, retentionMs, onAbandoned };
    const patience = { limitMs: storeTimeoutMs, patienceMs: storeTimeoutMs };
    try {
      const reply = await persist(runtime, { call: () => store.claim(id, command), ...patience });
      return admission(context, reply);
    } catch (error) {
      if (isUnavailable(error)) releaseGhost(context);
      events.emit({ kind: "store-unavailable", operation, cause: error });
      return { kind: "unavailable", error: error as LatchkeyError };
    }
  }

  async function run<T>(request: RunRequest, work: (claim: Claim) => T | Promise<T>): Promise<T> {
    const { operation, key, scope = "public", input } = request;
    const fingerprint = fingerprintOf([], contentOf(input));
    const admitted = await begin({ operation, scope, key, fingerprint });
    if (admitted.kind === "completed") return decodeValue(admitted.result) as T;
    if (admitted.kind !== "execute") throw refusal(admitted);
    return execute(admitted.claim, work);
  }

  return {
    ...events,
    begin,
    run,
    close: (withinMs = 10_000) => drain(background, runtime, withinMs),
  };
}

// What ends may start more (a release after a failed claim): look again until nothing is left.
async function drain(
  background: ReadonlySet<Promise<unknown>>,
  runtime: Runtime,
  withinMs: number,
): Promise<void> {
  const untilMs = runtime.nowMs() + withinMs;
  while (background.size > 0 && runtime.nowMs() < untilMs) {
    let cancel = (): void => {};
    const timeout = new Promise<void>((resolve) => {
      cancel = runtime.timer(resolve, untilMs - runtime.nowMs());
    });
    await Promise.race([Promise.allSettled(background), timeout]);
    cancel();
  }
}

function admission(context: ClaimContext, reply: ClaimReply): Admission {
  const { events, operation } = context;
  switch (reply.kind) {
    case "claimed": {
      const { attempt, takeover } = reply;
      if (takeover) events.emit({ kind: "takeover", operation, attempt });
      return { kind: "execute", claim: holdClaim(context, reply) };
    }
    case "completed":
      events.emit({ kind: "replayed", operation });
      return reply;
    case "in-progress":
      events.emit({ kind: "conflict", operation });
      return { ...reply, retryAfterMs: context.pace.retryAfterMs(operation, reply) };
    case "mismatch":
    case "in-doubt":
      events.emit({ kind: reply.kind, operation });
      return reply;
  }
}

// Only then is it unknown whether the claim was applied; every other refusal wrote nothing.
function isUnavailable(error: unknown): boolean {
  return isLatchkeyError(error) && error.code === "store-unavailable";
}

// A claim that timed out may have been applied: without a release it would block the key for a
// lease (ghost claim).
function releaseGhost({
  store,
  runtime,
  id,
  owner,
  leaseMs,
  storeTimeoutMs,
  track,
}: ClaimContext): void {
  const call = () => store.release(id, owner);
  const released = persist(runtime, { call, limitMs: storeTimeoutMs, patienceMs: leaseMs });
  track(released.catch(() => undefined)); // given up after a lease: by then the ghost has lapsed
}

async function execute<T>(claim: Claim, work: (claim: Claim) => T | Promise<T>): Promise<T> {
  let value: T;
  try {
    value = await work(claim);
  } catch (error) {
    await claim.release();
    throw error;
  }
  await claim.complete(encodeValue(value));
  return value;
}

function contentOf(input: unknown): Parameters<typeof fingerprintOf>[1] {
  if (input === undefined) return { kind: "none" };
  if (input instanceof Uint8Array) return { kind: "bytes", bytes: input };
  return { kind: "json", value: input };
}

function refusal(admitted: Exclude<Admission, { kind: "execute" | "completed" }>): LatchkeyError {
  switch (admitted.kind) {
    case "in-progress": {
      const { retryAfterMs } = admitted;
      const message = "A request is outstanding for this idempotency key. Retry a little later.";
      return new LatchkeyError("in-progress", message, { retryAfterMs });
    }
    case "mismatch":
      return new LatchkeyError(
        "key-reused",
        "This idempotency key was used with another input. Use a new key for a new intent.",
      );
    case "in-doubt":
      return new LatchkeyError(
        "outcome-unknown",
        "Whether this was executed is unknown. Have an operator resolve it; do not send it again.",
      );
    case "unavailable":
      return admitted.error;
  }
}

function checkOnAbandoned(value: unknown): OnAbandoned {
  if (value === "takeover" || value === "in-doubt") return value;
  throw new TypeError(
    `onAbandoned must be "takeover" or "in-doubt"; got ${JSON.stringify(value)}.`,
  );
}
