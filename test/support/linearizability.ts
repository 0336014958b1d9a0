/**
 * A Wing–Gong checker for histories of store commands on one record: is there an order of them,
 * each at an instant between its call and its return, in which `transition()` gives every reply
 * that was seen? A command whose reply was lost may have happened at any time after its call, or
 * never.
 */
import type { Command, StoredRecord } from "../../src/machine/record.ts";
import { transition } from "../../src/machine/transition.ts";

export interface Operation {
  /** Who sent it; an actor waits for each reply, or gives it up as lost. */
  readonly actor: number;
  readonly command: Command;
  /** By the clock of the machine that the store runs on. */
  readonly calledAtMs: number;
  /** `Infinity` when the reply was lost. */
  readonly returnedAtMs: number;
  readonly reply?: Readonly<Record<string, unknown>>;
}

/** How far the server's millisecond may lie outside of what the caller measured. */
const slackMs = 2;

interface Branch {
  readonly record: StoredRecord | undefined;
  readonly nowMs: number;
  readonly pending: readonly Operation[];
}

export type Verdict = "legal" | "illegal" | "undecided";

/**
 * What a history is, of some 25 operations by the time of their calls. Too many lost replies leave
 * it undecided.
 */
export function verdictOf(history: readonly Operation[]): Verdict {
  const verdict = judge(history, coarse);
  // An operation may last long on a busy machine: every millisecond of it has to be tried before a
  // history is called illegal.
  return verdict === "illegal" ? judge(history, fine) : verdict;
}

/** A history in lines, for a report: when, who, what, and the reply. */
export function linesOf(history: readonly Operation[]): readonly string[] {
  const startMs = Math.min(...history.map(({ calledAtMs }) => calledAtMs));
  return history.map(({ actor, command, calledAtMs, returnedAtMs, reply }) => {
    const { kind, ...more } = command as Command & { readonly fingerprint?: string };
    const what = [kind, more.fingerprint].filter(Boolean).join(" ");
    const seen = reply === undefined ? "lost" : JSON.stringify(reply);
    return `${calledAtMs - startMs}–${returnedAtMs - startMs} ms, ${actor}: ${what} → ${seen}`;
  });
}

interface Grain {
  /** At how many instants within its interval a command that sets a lease is tried. */
  readonly instants: number;
  /** How many branches are looked at before a history counts as undecided. */
  readonly mostVisited: number;
}
const coarse: Grain = { instants: 5, mostVisited: 20_000 };
const fine: Grain = { instants: Infinity, mostVisited: 300_000 };

function judge(history: readonly Operation[], { instants, mostVisited }: Grain): Verdict {
  const dead = new Map<string, number>();
  let visited = 0;

  function search({ record, nowMs, pending }: Branch): boolean {
    if (pending.every(isLost)) return true;
    if ((visited += 1) > mostVisited) return false;
    const place = placeOf(record, pending, history);
    // Where there was no way from an earlier instant, there is none from a later one.
    if (nowMs >= (dead.get(place) ?? Infinity)) return false;
    const firstReturnMs = Math.min(...pending.map(({ returnedAtMs }) => returnedAtMs)) + slackMs;
    for (const operation of pending.filter((one) => isNext(one, pending))) {
      const fromMs = Math.max(nowMs, operation.calledAtMs - slackMs);
      const rest = pending.filter((other) => other !== operation);
      const untilMs = Math.min(operation.returnedAtMs + slackMs, firstReturnMs);
      const spread = { fromMs, untilMs, instants };
      for (const atMs of instantsOf(operation.command, record, spread)) {
        const { next, reply } = transition(record, operation.command, atMs);
        if (!agree(operation.reply, reply)) continue;
        if (search({ record: next, nowMs: atMs, pending: rest })) return true;
      }
    }
    dead.set(place, nowMs);
    return false;
  }

  if (search({ record: undefined, nowMs: 0, pending: history })) return "legal";
  return visited > mostVisited ? "undecided" : "illegal";
}

function isLost({ returnedAtMs }: Operation): boolean {
  return returnedAtMs === Infinity;
}

// An actor sends one command after the other; only what it got no reply to may still happen later.
function isNext(operation: Operation, pending: readonly Operation[]): boolean {
  const first = pending.find((one) => !isLost(one) && one.actor === operation.actor);
  return isLost(operation) || first === operation;
}

interface Spread {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly instants: number;
}

// A reply depends on the instant only through the deadlines of the record. Where in its interval a
// command was judged matters to the deadlines that it sets, so a few instants between are tried.
function instantsOf(
  command: Command,
  record: StoredRecord | undefined,
  { fromMs, untilMs, instants }: Spread,
): readonly number[] {
  const setsLease = command.kind === "claim" || command.kind === "renew";
  const steps = setsLease ? Math.max(1, Math.min(instants - 1, untilMs - fromMs)) : 1;
  const between = Array.from({ length: setsLease ? steps + 1 : 1 }, (_, index) =>
    Math.round(fromMs + ((untilMs - fromMs) * index) / steps),
  );
  const leaseEndsAtMs = record?.state === "in-progress" ? record.leaseEndsAtMs : fromMs;
  const all = new Set([...between, leaseEndsAtMs - 1, leaseEndsAtMs]);
  return [...all].filter((atMs) => atMs >= fromMs && atMs <= untilMs).toSorted((a, b) => a - b);
}

// What counts of a reply is what a caller acts on; the durations in it depend on the instant.
function agree(seen: Operation["reply"], modelled: object): boolean {
  if (seen === undefined) return true;
  return essence(seen) === essence(modelled);
}

function essence(reply: object): string {
  const { kind, attempt, takeover, result, steps } = reply as Readonly<Record<string, unknown>>;
  const bytes = [result, ...Object.values(steps ?? {})].map((one) =>
    one instanceof Uint8Array ? Buffer.from(one).toString("hex") : "",
  );
  return JSON.stringify([kind, attempt, takeover, bytes]);
}

function placeOf(
  record: StoredRecord | undefined,
  pending: readonly Operation[],
  history: readonly Operation[],
): string {
  const open = pending.map((operation) => history.indexOf(operation)).join();
  if (record === undefined) return open;
  const { fingerprint, owner, attempt, state } = record;
  const more =
    state === "in-progress" ? [record.leaseEndsAtMs, record.committed, record.onAbandoned] : [];
  const kept =
    "steps" in record
      ? Object.entries(record.steps ?? {}).map(([name, one]) => name + Buffer.from(one).toString())
      : [];
  return [open, state, fingerprint, owner, attempt, ...more, ...kept].join(" ");
}
