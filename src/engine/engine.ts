/**
 * The engine: runs the machine against a store in real time. It claims, keeps the lease alive,
 * records and releases; it knows no HTTP. Adapters use `begin`, plain code uses `run`.
 */
import { durationMs } from "../duration.ts";
import type { Duration } from "../duration.ts";
import { LatchkeyError } from "../errors.ts";
import type { OnAbandoned } from "../machine/record.ts";
import type { Store } from "../stores/store.ts";
import { begin } from "./begin.ts";
import type { Admission, BeginContext, Intent } from "./begin.ts";
import type { Claim } from "./claim.ts";
import { createOperator } from "./operators/operator.ts";
import type { Operator } from "./operators/operator.ts";
import { decodeValue, encodeValue } from "./values/codec.ts";
import { createEvents } from "./events.ts";
import type { EventListener, Events } from "./events.ts";
import { fingerprintOf } from "./values/fingerprint.ts";
import { createPace } from "./pace.ts";
import { systemRuntime } from "./runtime.ts";
import type { Runtime } from "./runtime.ts";
import { createWaiting, waitingDefaults } from "./waiting.ts";

export type { OnAbandoned } from "../machine/record.ts";

/** How often a waiting duplicate asks again for an owner in another process, in ms. */
const pollMs = 250;

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

export interface RunRequest {
  readonly operation: string;
  readonly key: string;
  /** Whose key it is. Default `"public"`: one key space for all. */
  readonly scope?: string;
  /**
   * What the key is bound to: the same key with another input is refused. JSON, bytes, or nothing.
   */
  readonly input?: unknown;
  /** How long to wait for an owner that is at work. Default: refuse at once with `in-progress`. */
  readonly wait?: Duration;
}

export interface Engine extends Events, Operator {
  /** Claims the intent and says what to do. Rejects with `key-invalid` before any store call. */
  begin(intent: Intent): Promise<Admission>;
  /**
   * Runs `work` once for its key and returns its value, or the recorded one. Rejects with what
   * `work` throws (the key is released) or a `LatchkeyError`: `in-progress`, `key-reused`,
   * `outcome-unknown`, `result-omitted`, `failed`, `store-…`.
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

  function track(work: Promise<unknown>): void {
    background.add(work);
    void work.finally(() => background.delete(work));
  }

  const lent: BeginContext = {
    store,
    runtime,
    events,
    pace: createPace(),
    waiting: createWaiting(runtime, waitingDefaults),
    leaseMs,
    retentionMs,
    storeTimeoutMs,
    onAbandoned,
    pollMs,
    track,
  };

  async function run<T>(request: RunRequest, work: (claim: Claim) => T | Promise<T>): Promise<T> {
    const { operation, key, scope = "public", input, wait } = request;
    const fingerprint = fingerprintOf([], contentOf(input));
    const waitMs = wait === undefined ? 0 : durationMs(wait, "wait", 0);
    const admitted = await begin(lent, { operation, scope, key, fingerprint, waitMs });
    if (admitted.kind === "completed") return decodeValue(admitted.result) as T;
    if (admitted.kind !== "execute") throw refusal(admitted);
    return execute(admitted.claim, work);
  }

  return {
    ...events,
    ...createOperator(lent),
    begin: (intent) => begin(lent, intent),
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
