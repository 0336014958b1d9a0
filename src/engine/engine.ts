/**
 * The engine: runs the machine against a store in real time. It claims, keeps the lease alive,
 * records and releases; it knows no HTTP. Adapters use `begin`, plain code uses `run`.
 */
import { durationMs } from "../duration.ts";
import type { Duration } from "../duration.ts";
import type { OnAbandoned } from "../machine/record.ts";
import type { Store } from "../stores/store.ts";
import { begin, isForAll } from "./begin.ts";
import type { Admission, BeginContext, Intent } from "./begin.ts";
import type { Claim } from "./claim.ts";
import { createOperator } from "./operators/operator.ts";
import type { Operator } from "./operators/operator.ts";
import { codecOf } from "./results/result-codec.ts";
import type { ResultCodec } from "./results/result-codec.ts";
import { namesOf } from "./values/key.ts";
import { createEvents } from "./events.ts";
import type { EventListener, Events } from "./events.ts";
import { createHeldClaims } from "./local/held-claims.ts";
import { createReplayCache } from "./local/replay-cache.ts";
import type { ReplayCacheOptions } from "./local/replay-cache.ts";
import { createSharedCalls } from "./local/shared-calls.ts";
import { createPace } from "./pace.ts";
import { run } from "./plain/run.ts";
import type { RunRequest, TransactionRequest } from "./plain/run.ts";
import { systemRuntime } from "./runtime.ts";
import type { Runtime } from "./runtime.ts";
import { createWaiting, waitingDefaults } from "./waiting.ts";

export type { OnAbandoned } from "../machine/record.ts";

/** How often a waiting duplicate asks again for an owner in another process, in ms. */
const pollMs = 250;
/** The same where the store wakes it: only in case a message is lost. */
const watchedPollMs = 2000;

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

/** The names of all options of an engine. */
export const engineOptionNames: ReadonlySet<string> = new Set(
  ["store", "results", "secret", "replayCache", "onEvent", "runtime"].concat(
    Object.keys(engineDefaults),
  ),
);

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
  /**
   * How results are stored: codecs of `latchkey/results`, e.g. `[compressed(), encrypted(…)]`, in
   * the order in which they are applied. Default none: as they are.
   */
  readonly results?: readonly ResultCodec[];
  /**
   * At least 32 bytes that make record ids and fingerprints of HMAC-SHA-256 instead of SHA-256:
   * who reads the store cannot try out keys. Another secret is another key space, where every
   * retry executes. Default none.
   */
  readonly secret?: string | Uint8Array;
  /**
   * Answers repeated replays from this process, for as long as `maxAge` (`"10s"`) after the store's
   * word, e.g. `{ maxBytes: 16_000_000 }`. An operator's `forget` takes effect after that time.
   * Default none: every replay asks the store.
   */
  readonly replayCache?: ReplayCacheOptions;
  /** Told of every outcome. */
  readonly onEvent?: EventListener;
  /** Clock, randomness and timers; for tests. */
  readonly runtime?: Runtime;
}

export interface Engine extends Events, Operator {
  /** Claims the intent and says what to do. Rejects with `key-invalid` before any store call. */
  begin(intent: Intent): Promise<Admission>;
  /**
   * Runs `work` in a transaction and returns its value after the COMMIT. Rejects as below, and with
   * the COMMIT's own error once the store has said that nothing was committed.
   */
  run<T, Tx>(
    request: TransactionRequest<T, Tx>,
    work: (claim: Claim, transaction: Tx) => T | Promise<T>,
  ): Promise<T>;
  /**
   * Runs `work` once for its key and returns its value, or the recorded one. Rejects with what
   * `work` throws (the key is released) or a `LatchkeyError`: `in-progress`, `key-reused`,
   * `outcome-unknown`, `result-omitted`, `failed`, `store-…`.
   */
  run<T>(request: RunRequest<T>, work: (claim: Claim) => T | Promise<T>): Promise<T>;
  /**
   * The same engine over another store, e.g. `store.within(tx)`; options and events are shared.
   */
  with(store: Store): Engine;
  /**
   * Waits for running claims and background writes, at most `withinMs` (default 10 000). The store
   * stays open.
   */
  close(withinMs?: number): Promise<void>;
}

/** Creates an engine. Throws `TypeError` on a wrong option, `Error` on too old a runtime. */
export function createEngine(options: EngineOptions): Engine {
  checkRuntime();
  if (typeof options?.store?.claim !== "function") {
    throw new TypeError(
      "createEngine needs { store }, e.g. createEngine({ store: memoryStore() }).",
    );
  }
  const { store, runtime = systemRuntime } = options;
  for (const name of Object.keys(options)) {
    if (!engineOptionNames.has(name)) {
      throw new TypeError(`createEngine does not know the option "${name}".`);
    }
  }
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
    names: namesOf(options.secret),
    results: codecOf(options.results ?? []),
    pace: createPace(),
    ...localTo(runtime, options.replayCache),
    waiting: createWaiting(runtime, waitingDefaults),
    leaseMs,
    retentionMs,
    storeTimeoutMs,
    onAbandoned,
    pollMs,
    watchedPollMs,
    track,
  };

  return engineOn(lent, (withinMs = 10_000) => drain(background, runtime, withinMs));
}

function engineOn(lent: BeginContext, close: Engine["close"]): Engine {
  return {
    ...lent.events,
    ...createOperator(lent),
    begin: (intent) => begin(lent, intent),
    run: <T>(
      request: RunRequest<T> | TransactionRequest<T, unknown>,
      work: (claim: Claim, transaction: never) => T | Promise<T>,
    ) => run(lent, request, work as (claim: Claim, transaction: unknown) => T | Promise<T>),
    with: (store) => engineOn({ ...lent, store, ...localTo(lent.runtime) }, close),
    close,
  };
}

/** What an engine knows of its store's records by itself; another store must be asked anew. */
function localTo(
  runtime: Runtime,
  replays?: ReplayCacheOptions,
): Pick<BeginContext, "replays" | "held" | "shared"> {
  return {
    replays: createReplayCache(runtime, replays),
    held: createHeldClaims(runtime),
    shared: createSharedCalls(isForAll),
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

// An older one would fail with the first request that needs what it lacks, in words of its own.
function checkRuntime(): void {
  const needed: readonly (readonly [object, string])[] = [
    [Map, "groupBy"],
    [Promise, "withResolvers"],
  ];
  const absent = needed.find(([owner, name]) => !(name in owner))?.[1];
  if (absent === undefined) return;
  const way = "Use Node 22.13, Bun 1.2, Deno 2.2 or newer.";
  throw new Error(`This runtime is too old for Latchkey: it has no ${absent}. ${way}`);
}

function checkOnAbandoned(value: unknown): OnAbandoned {
  if (value === "takeover" || value === "in-doubt") return value;
  throw new TypeError(
    `onAbandoned must be "takeover" or "in-doubt"; got ${JSON.stringify(value)}.`,
  );
}
