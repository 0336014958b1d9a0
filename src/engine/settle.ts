/**
 * How a claim ends: its result is recorded or its key released, once. The write is retried while
 * the heartbeat goes on; who waits is told `pending` as soon as the store has failed once.
 */
import type { LatchkeyError } from "../errors.ts";
import { persist } from "./store-call.ts";
import type { Persistence } from "./store-call.ts";
import type { Runtime } from "./runtime.ts";

/** `pending`: the store did not answer in time, and the engine keeps trying in the background. */
export type Settled = "recorded" | "released" | "in-doubt" | "lease-lost" | "pending";
type SettlingReply = { readonly kind: Exclude<Settled, "pending"> };

/** How many leases a settling write is retried for before it is given up. */
const patienceLeases = 10;

export interface SettlerOptions {
  readonly runtime: Runtime;
  readonly leaseMs: number;
  readonly limitMs: number;
  /** The store failed for the first time. */
  readonly onFailed: (cause: LatchkeyError) => void;
  /** The store has answered, or the write was given up as `pending`. Called once. */
  readonly onSettled: (settled: Settled) => void;
  readonly track: (work: Promise<unknown>) => void;
}

/**
 * The settler of one claim: only its first call counts, so that nothing frees what was recorded.
 */
export function createSettler(
  options: SettlerOptions,
): (call: () => Promise<SettlingReply>) => Promise<Settled> {
  let first: Promise<Settled> | undefined;
  return (call) => (first ??= settle(options, call));
}

async function settle(
  options: SettlerOptions,
  call: () => Promise<SettlingReply>,
): Promise<Settled> {
  const { runtime, leaseMs, limitMs } = options;
  const failure = Promise.withResolvers<Settled>();
  let failed = false;
  const persistence: Persistence<SettlingReply> = {
    call,
    limitMs,
    patienceMs: leaseMs * patienceLeases,
    onFailure: (cause) => {
      if (!failed) options.onFailed(cause);
      failed = true;
      failure.resolve("pending");
    },
  };
  const written = persist(runtime, persistence)
    // Given up after it was told as failed: the lease ends by itself.
    .then(
      (reply): Settled => reply.kind,
      (): Settled => "pending",
    )
    .then((settled) => {
      options.onSettled(settled);
      return settled;
    });
  options.track(written);
  return Promise.race([written, failure.promise]);
}
