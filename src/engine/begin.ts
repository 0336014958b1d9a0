/**
 * One intent on its way through the claim: claims with our own deadline, waits for an owner where
 * the caller wants to, and frees the ghost of a claim that nobody knows the fate of.
 */
import { isLatchkeyError } from "../errors.ts";
import type { ErrorCode, LatchkeyError } from "../errors.ts";
import type { ClaimReply, Fingerprint, OnAbandoned, OwnerToken } from "../machine/record.ts";
import { holdClaim, note } from "./claim.ts";
import type { Claim, ClaimContext } from "./claim.ts";
import type { ReplayCache } from "./local/replay-cache.ts";
import type { SharedCalls } from "./local/shared-calls.ts";
import { openedReply } from "./results/result-codec.ts";
import { checkKey, checkScope } from "./values/key.ts";
import { persist } from "./store-call.ts";
import type { Store } from "../stores/store.ts";
import { claimInTransaction, claimWithin } from "./transaction/claim-within.ts";
import { checkTransactional } from "./transaction/transactions.ts";
import type { Transactions } from "./transaction/transactions.ts";
import type { Seat, Waiting } from "./waiting.ts";

/** One intent: who asks (scope), for what (operation), under which key, with what (fingerprint). */
export interface Intent {
  readonly operation: string;
  readonly scope: string;
  readonly key: string;
  readonly fingerprint: Fingerprint;
  /** Overrides of the engine's options for this intent, in ms. */
  readonly leaseMs?: number;
  readonly retentionMs?: number;
  readonly onAbandoned?: OnAbandoned;
  /** How long to wait for an owner that is at work, in ms. Default 0: refuse at once. */
  readonly waitMs?: number;
  /** Ends the waiting, for a client that went away. */
  readonly signal?: AbortSignal;
  /**
   * Told of all work that outlives the answer, for platforms that would end it with the request.
   * Such a promise is first given with the claim, ends with it, and never rejects.
   */
  readonly waitUntil?: (work: Promise<unknown>) => void;
  /** Claims, works and records in one transaction from here; the store must be in its database. */
  readonly transaction?: Transactions<unknown>;
}

/** The store's answer to an intent. Never a rejection for what the protocol foresees. */
export type Admission =
  | { readonly kind: "execute"; readonly claim: Claim }
  | Exclude<ClaimReply, { readonly kind: "claimed" }>
  | {
      readonly kind: "unavailable";
      readonly error: LatchkeyError;
      /** Runs unprotected all the same: puts that on the list of what somebody must look at. */
      readonly bypass: () => void;
    };

/** What an engine lends to each of its intents. */
export interface BeginContext extends Omit<
  ClaimContext,
  "id" | "fingerprint" | "owner" | "operation" | "askedAtMs"
> {
  readonly onAbandoned: OnAbandoned;
  readonly replays: ReplayCache;
  readonly shared: SharedCalls<Outcome>;
  readonly waiting: Waiting;
  /** How often a waiter asks for an owner elsewhere, in ms: alone, and while the store wakes it. */
  readonly pollMs: number;
  readonly watchedPollMs: number;
}

/**
 * Claims, or waits and claims again; rejects with `key-invalid` before any store call, and with
 * `TypeError` when a transaction is asked of a store that cannot be in one.
 */
export async function begin(engine: BeginContext, intent: Intent): Promise<Admission> {
  const lent = tracking(engine, intent.waitUntil);
  const { runtime, waiting, events, names } = lent;
  if (intent.transaction !== undefined) checkTransactional(lent.store);
  const { operation, scope, key, waitMs = 0, signal } = intent;
  const id = names.recordId(checkScope(scope), operation, checkKey(key));
  const fingerprint = names.fingerprint(intent.fingerprint);
  const untilMs = runtime.nowMs() + waitMs;
  const named = { ...intent, id, fingerprint };
  const reply = await answer(lent, named);
  const patient = untilMs > runtime.nowMs() && signal?.aborted !== true;
  const seat = reply.kind === "in-progress" && patient ? waiting.sit(id, signal) : undefined;
  if (seat === undefined) return told(lent, operation, reply);
  events.emit({ kind: "waited", operation });
  try {
    return told(lent, operation, await attend(lent, { ...named, untilMs, seat }, reply));
  } finally {
    seat.leave();
  }
}

type Named = Intent & { readonly id: ClaimContext["id"] };
type Seated = Named & { readonly untilMs: number; readonly seat: Seat };

/** Waits and claims again, until the answer is another one or the patience is over. */
async function attend(lent: BeginContext, waiter: Seated, first: Outcome): Promise<Outcome> {
  const { runtime, waiting } = lent;
  const { id, seat, untilMs, signal } = waiter;
  let reply = first;
  let watch: Watch | undefined;
  try {
    for (;;) {
      const leftMs = untilMs - runtime.nowMs();
      if (reply.kind !== "in-progress" || leftMs <= 0) return reply;
      if (!waiting.isOwned(id)) watch ??= startWatch(lent.store, waiter);
      const pollMs = watch?.isConfirmed() === true ? lent.watchedPollMs : lent.pollMs;
      await seat.hold(Math.max(1, Math.min(leftMs, pollMs, reply.retryAfterMs)));
      // Nobody is there to get what a claim would run (B-52).
      if (signal?.aborted === true) return reply;
      // Through the claim again, never a plain read: it could deliver another body's response. Also
      // at the end of the lease, in case the owner is dead (B-51).
      reply = await answer(lent, waiter);
    }
  } finally {
    watch?.end();
  }
}

interface Watch {
  readonly isConfirmed: () => boolean;
  readonly end: () => void;
}

/**
 * Has the store wake a waiter. The confirmation wakes it first: what ended before the store was
 * listening has been told to nobody.
 */
function startWatch(store: Store, { id, seat }: Seated): Watch {
  let stop: (() => void) | undefined;
  let ended = false;
  store.watch?.(id, seat.wake).then(
    (unwatch) => {
      if (ended) return unwatch();
      stop = unwatch;
      seat.wake();
    },
    () => undefined, // the waiter polls
  );
  return {
    isConfirmed: () => stop !== undefined,
    end: () => {
      ended = true;
      stop?.();
    },
  };
}

function tracking(lent: BeginContext, waitUntil: Intent["waitUntil"]): BeginContext {
  if (waitUntil === undefined) return lent;
  const track = (work: Promise<unknown>): void => {
    lent.track(work);
    tell(waitUntil, work);
  };
  return { ...lent, track };
}

// The claim is granted already: an error here would leave it to a heartbeat without a handler.
function tell(waitUntil: NonNullable<Intent["waitUntil"]>, work: Promise<unknown>): void {
  try {
    waitUntil(work);
  } catch (error) {
    process.emitWarning?.(`waitUntil threw: ${String(error)}`, "LatchkeyWarning");
  }
}

type Claimed = Extract<ClaimReply, { readonly kind: "claimed" }>;
/** What one question to the store came to. */
export type Outcome =
  | Exclude<Admission, { readonly kind: "execute" }>
  | (Claimed & { claim: Claim });

// What this process knows, or else the store's word; asked again when a duplicate beside us has
// just got the claim.
async function answer(lent: BeginContext, intent: Named): Promise<Outcome> {
  const { id, fingerprint } = intent;
  for (;;) {
    const known = lent.held.find(id, fingerprint) ?? lent.replays.find(id, fingerprint);
    if (known !== undefined) return known;
    const { reply, own } = await lent.shared.ask(id, fingerprint, () => claim(lent, intent));
    if (reply.kind !== "claimed" || own) return reply;
  }
}

/**
 * What a duplicate may be told that came after the question: that another one here has the claim,
 * which it will see for itself, and that nobody knows.
 */
export function isForAll({ kind }: Outcome): boolean {
  return kind === "claimed" || kind === "unavailable";
}

async function claim(lent: BeginContext, intent: Named): Promise<Outcome> {
  const { store, runtime, storeTimeoutMs, events } = lent;
  const { id, operation, fingerprint, transaction } = intent;
  const owner = runtime.token() as OwnerToken;
  const { leaseMs = lent.leaseMs, retentionMs = lent.retentionMs } = intent;
  const { onAbandoned = lent.onAbandoned } = intent;
  const command = { owner, fingerprint, operation, leaseMs, retentionMs, onAbandoned };
  const askedAtMs = runtime.nowMs();
  const context: ClaimContext = { ...lent, ...command, id, askedAtMs };
  const patience = { limitMs: storeTimeoutMs, patienceMs: storeTimeoutMs };
  const isLeased = transaction === undefined && store.isTransaction !== true;
  let asked: Promise<ClaimReply> | undefined;
  let claimed = false;
  try {
    if (transaction !== undefined) return await claimInTransaction(context, command, transaction);
    if (!isLeased) return await claimWithin(context, command);
    const call = () => (asked = store.claim(id, command));
    const reply = await persist(runtime, { call, ...patience });
    claimed = reply.kind === "claimed";
    const opened = openedReply(reply, context);
    remember(context, lent.replays, opened);
    return opened.kind === "claimed" ? { ...opened, claim: holdClaim(context, opened) } : opened;
  } catch (error) {
    // Unknown whether it was applied, or known: a claim of steps that cannot be read is no use.
    if (isLeased && (claimed || hasCode(error, "store-unavailable"))) releaseGhost(context);
    if (!claimed) asked?.then((late) => late.kind === "claimed" && releaseGhost(context), nobody);
    const bypass = (): void => {
      events.emit({ kind: "bypassed", operation, cause: error });
      note(context, "bypassed");
    };
    return { kind: "unavailable", error: error as LatchkeyError, bypass };
  }
}

function remember(context: ClaimContext, replays: ReplayCache, reply: ClaimReply): void {
  const { id, fingerprint, askedAtMs } = context;
  if (reply.kind === "completed") replays.keep(id, fingerprint, { reply, askedAtMs });
  else if (reply.kind !== "mismatch") replays.forget(id);
}

// One event for each outcome (B-113); a waiter's conflict and replay are told like any other.
function told({ events, pace }: BeginContext, operation: string, reply: Outcome): Admission {
  switch (reply.kind) {
    case "claimed": {
      const { attempt, takeover } = reply;
      if (takeover) events.emit({ kind: "takeover", operation, attempt });
      return { kind: "execute", claim: reply.claim };
    }
    case "completed":
      events.emit({ kind: "replayed", operation });
      return reply;
    case "in-progress":
      events.emit({ kind: "conflict", operation });
      return { ...reply, retryAfterMs: pace.retryAfterMs(operation, reply) };
    case "mismatch":
    case "in-doubt":
      events.emit({ kind: reply.kind, operation });
      return reply;
    case "unavailable": {
      const { error: cause } = reply;
      const kind = cause.code === "store-corrupt" ? "store-corrupt" : "store-unavailable";
      events.emit({ kind, operation, cause });
      return reply;
    }
  }
}

// Only of an unavailable store is it unknown whether the claim was applied; every other refusal
// wrote nothing.
function hasCode(error: unknown, code: ErrorCode): boolean {
  return isLatchkeyError(error) && error.code === code;
}

// What failed late has been told as failed already.
const nobody = (): undefined => undefined;

// A claim that timed out may have been applied: unreleased it would block the key for a lease, or
// for good where nobody may take over. One that was stuck may be applied after its release, on
// another connection of a pool: so it is released again when it says so.
function releaseGhost(context: ClaimContext): void {
  const { store, runtime, id, owner, leaseMs, storeTimeoutMs, track } = context;
  const call = () => store.release(id, owner);
  const released = persist(runtime, { call, limitMs: storeTimeoutMs, patienceMs: leaseMs });
  track(released.catch(() => undefined)); // given up after a lease: by then the ghost has lapsed
}
