/**
 * The heartbeat of one claim: renews the lease every third of it, and aborts a signal when the
 * lease is lost.
 */
import type { RenewReply } from "../machine/record.ts";
import { withDeadline } from "./store-call.ts";
import type { Runtime } from "./runtime.ts";

export interface HeartbeatOptions {
  readonly runtime: Runtime;
  readonly leaseMs: number;
  readonly limitMs: number;
  /** Monotonic, from before the claim was asked for: its lease counts from then at the earliest. */
  readonly sinceMs: number;
  readonly renew: () => Promise<RenewReply>;
  /**
   * A whole lease passed without a renewal, or (`forGood`) somebody else holds the record. Called
   * once for each.
   */
  readonly onLost: (forGood: boolean) => void;
}
export interface Heartbeat {
  readonly stop: () => void;
  /** Monotonic; by the store's view the lease lasts at least until then. */
  readonly leaseEndsAtMs: () => number;
  /** Renews for `ms` more at the most; then the lease ends by itself. */
  readonly limit: (ms: number) => void;
}

/**
 * Starts renewing. Failures of the store are tried again; only a whole lease without renewal
 * counts as lost.
 */
export function startHeartbeat(options: HeartbeatOptions): Heartbeat {
  const { runtime, leaseMs } = options;
  const intervalMs = Math.max(1, Math.floor(leaseMs / 3));
  let renewedAtMs = options.sinceMs;
  let stopped = false;
  let lost = false;
  let cancel = runtime.timer(beat, intervalMs, true);

  function beat(): void {
    const startedAtMs = runtime.nowMs();
    const limitMs = Math.min(options.limitMs, Math.max(intervalMs, 1));
    withDeadline(runtime, limitMs, options.renew).then(
      (reply) => {
        if (stopped) return undefined; // settled meanwhile: the reply says nothing new
        if (reply.kind === "lease-lost") return lose(true);
        renewedAtMs = startedAtMs;
        return schedule(intervalMs);
      },
      () => {
        if (runtime.nowMs() - renewedAtMs >= leaseMs) lose(false);
        schedule(Math.max(1, Math.floor(intervalMs / 4)));
      },
    );
  }
  let untilMs = Infinity;
  function schedule(delayMs: number): void {
    if (!stopped && runtime.nowMs() < untilMs) cancel = runtime.timer(beat, delayMs, true);
  }
  function lose(forGood: boolean): void {
    if (forGood) stop();
    if (lost && !forGood) return;
    lost = true;
    options.onLost(forGood);
  }
  function stop(): void {
    stopped = true;
    cancel();
  }
  return {
    stop,
    leaseEndsAtMs: () => renewedAtMs + leaseMs,
    limit: (ms) => (untilMs = runtime.nowMs() + ms),
  };
}
