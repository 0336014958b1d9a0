/**
 * The state machine as one pure function: (record, command, now) → { next, reply }. Memory and
 * SQLite call it; the Lua scripts of Redis restate it, and the contract suite demands that their
 * replies are equal. No clock, no IO, no randomness: `nowMs` is always the store's clock.
 */
import type {
  ClaimCommand,
  ClaimReply,
  Command,
  CommitCommand,
  CompleteCommand,
  InDoubtRecord,
  InProgressRecord,
  ReleaseCommand,
  RenewCommand,
  ReplyTo,
  ResolveCommand,
  StepCommand,
  StoredRecord,
} from "./record.ts";

type Before = StoredRecord | undefined;
/** What a command leaves behind. `next` is the very same object when nothing was written. */
export interface Step<Reply> {
  readonly next: Before;
  readonly reply: Reply;
}

/** When a claim is judged, and the greatest fence this record ever had, also before it expired. */
interface Instant {
  readonly nowMs: number;
  readonly lastFence: number;
}

/** Applies one command to one record at one instant of the store's clock (ms). */
export function transition<K extends Command["kind"]>(
  stored: Before,
  command: Extract<Command, { readonly kind: K }>,
  nowMs: number,
): Step<ReplyTo[K]>;
export function transition(
  stored: Before,
  command: Command,
  nowMs: number,
): Step<ReplyTo[Command["kind"]]> {
  const record = isOver(stored, nowMs) ? undefined : stored;
  const lastFence = stored?.fence ?? 0;
  const { next, reply } = apply(record, command, { nowMs, lastFence });
  // No command deletes: what is over stays as it is until it is swept or claimed anew.
  return { next: next ?? stored, reply };
}

function apply(record: Before, command: Command, at: Instant): Step<ReplyTo[Command["kind"]]> {
  const { nowMs } = at;
  switch (command.kind) {
    case "claim":
      return claim(record, command, at);
    case "renew":
      return renew(record, command, nowMs);
    case "commit":
      return commit(record, command);
    case "step":
      return step(record, command);
    case "complete":
      return complete(record, command, nowMs);
    case "release":
      return release(record, command, nowMs);
    case "resolve":
      return resolve(record, command, nowMs);
  }
}

/** Whether the record's retention is over: from then on it is as if it had never been. */
export function isOver(record: Before, nowMs: number): boolean {
  return record !== undefined && nowMs >= record.expiresAtMs;
}

/**
 * The record as a claim would find it: `undefined` when its retention is over, and in doubt where
 * the lease has ended of an owner whom nobody may take over from, from the end of that lease.
 */
export function seenAt(record: Before, nowMs: number): Before {
  if (record === undefined || isOver(record, nowMs)) return undefined;
  if (record.state !== "in-progress" || !isDoubted(record, nowMs)) return record;
  const { committed, leaseEndsAtMs: doubtedAtMs } = record;
  return { ...identity(record), ...kept(record), state: "in-doubt", committed, doubtedAtMs };
}

/** From when on a record is in doubt, as far as it stands; `undefined` where it will not be. */
export function doubtedFromMs(record: StoredRecord): number | undefined {
  if (record.state === "in-doubt") return record.doubtedAtMs;
  if (record.state !== "in-progress") return undefined;
  return record.committed || record.onAbandoned === "in-doubt" ? record.leaseEndsAtMs : undefined;
}

function isDoubted(record: InProgressRecord, nowMs: number): boolean {
  const fromMs = doubtedFromMs(record);
  return fromMs !== undefined && nowMs >= fromMs;
}

// The order of the questions is the contract: retention, fingerprint, state, lease (B-56: a
// mismatch beats a conflict).
function claim(record: Before, command: ClaimCommand, at: Instant): Step<ClaimReply> {
  const { nowMs } = at;
  if (record === undefined) return grant(record, command, at);
  if (record.fingerprint !== command.fingerprint) return stay(record, { kind: "mismatch" });
  switch (record.state) {
    case "completed":
      return stay(record, {
        kind: "completed",
        result: record.result,
        completedAtMs: record.completedAtMs,
        expiresInMs: record.expiresAtMs - nowMs,
      });
    case "in-doubt":
      return stay(record, { kind: "in-doubt", operation: record.operation });
    case "released":
      return grant(record, command, at);
    case "in-progress":
      return claimHeld(clampLease(record, nowMs), command, at);
  }
}

function claimHeld(record: InProgressRecord, command: ClaimCommand, at: Instant): Step<ClaimReply> {
  const { nowMs } = at;
  if (record.owner === command.owner) {
    // The owner lost the reply to its claim and asks again: it must not lock itself out (L3).
    const next = extendLease(record, command.leaseMs, nowMs);
    return { next, reply: claimed(next) };
  }
  if (nowMs < record.leaseEndsAtMs) {
    return stay(record, {
      kind: "in-progress",
      retryAfterMs: record.leaseEndsAtMs - nowMs,
      runningForMs: Math.max(0, nowMs - record.claimedAtMs),
    });
  }
  if (isDoubted(record, nowMs)) {
    const next = doubt(record, nowMs);
    return { next, reply: { kind: "in-doubt", operation: next.operation } };
  }
  return grant(record, command, at);
}

function grant(record: Before, command: ClaimCommand, at: Instant): Step<ClaimReply> {
  const { nowMs, lastFence } = at;
  const next: InProgressRecord = {
    state: "in-progress",
    fingerprint: command.fingerprint,
    operation: command.operation,
    fence: Math.max(lastFence + 1, nowMs * 1000),
    attempt: (record?.attempt ?? 0) + 1,
    owner: command.owner,
    claimedAtMs: nowMs,
    expiresAtMs: nowMs + Math.max(command.retentionMs, command.leaseMs),
    leaseEndsAtMs: nowMs + command.leaseMs,
    leaseMs: command.leaseMs,
    retentionMs: command.retentionMs,
    onAbandoned: command.onAbandoned,
    committed: false,
    takeover: record?.state === "in-progress",
    ...(record === undefined ? {} : kept(record)),
  };
  return { next, reply: claimed(next) };
}

function renew(record: Before, command: RenewCommand, nowMs: number): Step<ReplyTo["renew"]> {
  if (record?.state !== "in-progress" || record.owner !== command.owner) return lost(record);
  return { next: extendLease(record, command.leaseMs, nowMs), reply: { kind: "renewed" } };
}

function commit(record: Before, command: CommitCommand): Step<ReplyTo["commit"]> {
  if (record?.state !== "in-progress" || record.owner !== command.owner) return lost(record);
  return { next: { ...record, committed: true }, reply: { kind: "committed" } };
}

// The first result of a step stands, as that of the whole work does (S-14).
function step(record: Before, command: StepCommand): Step<ReplyTo["step"]> {
  if (record?.state !== "in-progress" || record.owner !== command.owner) return lost(record);
  const { name, result } = command;
  if (Object.hasOwn(record.steps ?? {}, name)) return stay(record, { kind: "recorded" });
  return {
    next: { ...record, steps: { ...record.steps, [name]: result } },
    reply: { kind: "recorded" },
  };
}

function complete(
  record: Before,
  command: CompleteCommand,
  nowMs: number,
): Step<ReplyTo["complete"]> {
  if (record?.owner !== command.owner || record.state === "released") return lost(record);
  // The same owner asks again after a lost reply: the first result stands (S-14). An operator's is
  // not its own: an owner that comes late must learn that what it did is not what retries are told.
  if (record.state === "completed") {
    return isSpokenFor(record) ? lost(record) : stay(record, { kind: "recorded" });
  }
  // A late owner heals its own doubt, and a lapsed lease that nobody took over is still its own
  // (B-85).
  const next: StoredRecord = {
    ...identity(record),
    state: "completed",
    completedAtMs: nowMs,
    expiresAtMs: nowMs + command.retentionMs,
    result: command.result,
  };
  return { next, reply: { kind: "recorded" } };
}

// Of a completed record: its result is an operator's word.
function isSpokenFor({ resolutions }: StoredRecord): boolean {
  const outcome = resolutions?.at(-1)?.outcome;
  return outcome === "completed" || outcome === "failed";
}

function release(record: Before, command: ReleaseCommand, nowMs: number): Step<ReplyTo["release"]> {
  if (record?.owner !== command.owner || record.state === "completed") return lost(record);
  if (record.state === "released") return stay(record, { kind: "released" });
  if (record.committed) {
    // Past the point of no return nothing may run again by itself (B-75).
    const next = record.state === "in-doubt" ? record : doubt(record, nowMs);
    return { next, reply: { kind: "in-doubt" } };
  }
  const next: StoredRecord = { ...identity(record), ...kept(record), state: "released" };
  return { next, reply: { kind: "released" } };
}

function resolve(stored: Before, command: ResolveCommand, nowMs: number): Step<ReplyTo["resolve"]> {
  const record = seenAt(stored, nowMs);
  const { attempt, outcome, by, note } = command;
  if (record?.state !== "in-doubt" || record.attempt !== attempt) {
    return stay(stored, { kind: "not-in-doubt" });
  }
  const resolution = { outcome: outcome.kind, by, note, atMs: nowMs };
  const resolutions = [...(record.resolutions ?? []), resolution];
  const next: StoredRecord =
    outcome.kind === "not-executed"
      ? { ...identity(record), ...kept(record), resolutions, state: "released" }
      : {
          ...identity(record),
          resolutions,
          state: "completed",
          completedAtMs: nowMs,
          expiresAtMs: nowMs + outcome.retentionMs,
          result: outcome.result,
        };
  return { next, reply: { kind: "resolved" } };
}

function doubt(record: InProgressRecord, nowMs: number): InDoubtRecord {
  return {
    ...identity(record),
    ...kept(record),
    state: "in-doubt",
    committed: record.committed,
    doubtedAtMs: nowMs,
    expiresAtMs: Math.max(record.expiresAtMs, nowMs + record.retentionMs),
  };
}

function extendLease(record: InProgressRecord, leaseMs: number, nowMs: number): InProgressRecord {
  const leaseEndsAtMs = nowMs + leaseMs;
  const expiresAtMs = Math.max(record.expiresAtMs, leaseEndsAtMs);
  return { ...record, leaseMs, leaseEndsAtMs, expiresAtMs };
}

// A deadline further away than its own lease means that the server's clock jumped back: count from
// now.
function clampLease(record: InProgressRecord, nowMs: number): InProgressRecord {
  const latestMs = nowMs + record.leaseMs;
  return record.leaseEndsAtMs > latestMs ? { ...record, leaseEndsAtMs: latestMs } : record;
}

function identity(
  record: StoredRecord,
): Omit<InDoubtRecord, "state" | "committed" | "doubtedAtMs" | "steps"> {
  const { fingerprint, operation, fence, attempt, owner, claimedAtMs, expiresAtMs } = record;
  const base = { fingerprint, operation, fence, attempt, owner, claimedAtMs, expiresAtMs };
  return record.resolutions === undefined ? base : { ...base, resolutions: record.resolutions };
}

// What the next attempt inherits. A finished step and an operator's word outlive their owner.
function kept(record: StoredRecord): Pick<InDoubtRecord, "steps" | "resolutions"> {
  const steps = record.state === "completed" ? undefined : record.steps;
  const { resolutions } = record;
  return {
    ...(steps === undefined ? {} : { steps }),
    ...(resolutions === undefined ? {} : { resolutions }),
  };
}

function claimed(record: InProgressRecord): ClaimReply {
  const { fence, attempt, takeover, steps = {} } = record;
  return { kind: "claimed", fence, attempt, takeover, steps };
}

function stay<Reply>(next: Before, reply: Reply): Step<Reply> {
  return { next, reply };
}

function lost(next: Before): Step<{ readonly kind: "lease-lost" }> {
  return { next, reply: { kind: "lease-lost" } };
}
