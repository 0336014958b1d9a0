/**
 * What the answers of one round prove, as a pure function: at most one execution, duplicates
 * refused or replayed, replays byte-identical, another body refused. It sends and draws nothing.
 */
import type { Observation, Phase } from "./observation.ts";

/** `unknown` where the answers prove neither. */
export type Verdict = "safe" | "unsafe" | "unknown";

/** What became of one request; `same` is an unmarked answer with bytes already seen. */
export type Outcome = "executed" | "replayed" | "same" | "differs" | "refused" | "failed";

/** One of the four questions; `skipped` ones do not count. */
export interface Check {
  readonly question: string;
  readonly answer: "yes" | "no" | "unknown" | "skipped";
  readonly sentence: string;
}

/** The judgement of a round; `outcomes` runs parallel to the observations. */
export interface Judgement {
  readonly verdict: Verdict;
  /** Executions proved: distinct successes that are not replays. */
  readonly executions: number;
  readonly outcomes: readonly Outcome[];
  readonly checks: readonly Check[];
  readonly notes: readonly string[];
}

const markers = ["idempotency-replayed", "idempotent-replayed"];

/** Whether the answer says of itself that it is a replay. */
export function isMarked({ headers }: Observation): boolean {
  return markers.some((name) => /^(true|1|\?1)$/i.test(headers[name]?.trim() ?? ""));
}

/** Whether it is a complete 2xx answer. */
export function isSuccess({ status }: Observation): boolean {
  return status !== undefined && status >= 200 && status < 300;
}

/**
 * Whether several unmarked answers carry the same bytes and none carries others: replays, or an
 * endpoint that answers every execution alike. Only a request with another key can tell.
 */
export function needsControl(observations: readonly Observation[]): boolean {
  const bare = observations.filter((one) => isOriginal(one) && isSuccess(one) && !isMarked(one));
  return bare.length > 1 && new Set(bare.map(contentOf)).size === 1;
}

/** Judges one round. */
export function judge(observations: readonly Observation[]): Judgement {
  const facts = gather(observations);
  const checks = [
    oneExecution(facts),
    duplicatesHeld(facts),
    replaysIdentical(facts),
    otherBodyRefused(facts),
  ];
  const answers = new Set(checks.map((check) => check.answer));
  const verdict = answers.has("no") ? "unsafe" : answers.has("unknown") ? "unknown" : "safe";
  const { outcomes, executions } = facts;
  return { verdict, executions, outcomes, checks, notes: notesOn(facts) };
}

interface Facts {
  readonly observations: readonly Observation[];
  readonly outcomes: readonly Outcome[];
  readonly executions: number;
  readonly first: Observation | undefined;
  /** True when equal bytes may hide executions. */
  readonly noReceipt: boolean;
  readonly unmarkedReplays: number;
}

function gather(observations: readonly Observation[]): Facts {
  const successes = observations
    .filter((one) => isOriginal(one) && isSuccess(one))
    .sort((a, b) => a.endMs - b.endMs);
  const first = successes.find((one) => !isMarked(one)) ?? successes[0];
  const firstOf = new Map<string, Observation>();
  for (const one of successes) {
    if (!isMarked(one) && !firstOf.has(contentOf(one))) firstOf.set(contentOf(one), one);
  }
  const control = observations.find((one) => one.phase === "control");
  const hasReceipt =
    control !== undefined && isSuccess(control) && first && control.digest !== first.digest;
  const noReceipt = needsControl(observations) && !hasReceipt;
  const outcomeOf = (one: Observation): Outcome => {
    if (one.phase === "control") return isSuccess(one) ? "executed" : "failed";
    if (!isSuccess(one)) return isRefusal(one) ? "refused" : "failed";
    const known = first !== undefined && contentOf(one) === contentOf(first);
    if (isMarked(one)) return known ? "replayed" : "differs";
    if (firstOf.get(contentOf(one)) === one) return "executed";
    if (firstOf.has(contentOf(one))) return noReceipt ? "same" : "replayed";
    return "executed";
  };
  const outcomes = observations.map(outcomeOf);
  const executions = outcomes.filter(
    (outcome, index) => outcome === "executed" && observations[index]?.phase !== "control",
  ).length;
  const unmarkedReplays = observations.filter(
    (one, index) =>
      !isMarked(one) && (outcomes[index] === "replayed" || outcomes[index] === "same"),
  ).length;
  return { observations, outcomes, executions, first, noReceipt, unmarkedReplays };
}

function oneExecution(facts: Facts): Check {
  const { executions, observations, first, noReceipt } = facts;
  const say = answerTo("at most one execution");
  if (executions > 1) {
    return say("no", `It ran ${executions} times for one key: ${executions} different answers.`);
  }
  if (first === undefined) return say("unknown", nothingSucceeded(observations));
  if (executions === 0) {
    return say("unknown", "Every answer was a replay: this key was used before.");
  }
  const failures = failuresOf(facts, ["together", "retry", "burst"]);
  if (failures.length > 0) {
    return say("unknown", `${reasons(failures)}: whether they ran cannot be told.`);
  }
  if (noReceipt) {
    return say("unknown", "Every answer is the same, so a second execution would not show.");
  }
  return say("yes", "It ran once.");
}

function duplicatesHeld(facts: Facts): Check {
  const say = answerTo("duplicates refused or replayed");
  const counted = tally(facts, ["together"]);
  const total = facts.observations.filter((one) => one.phase === "together").length;
  if (total < 2) return say("skipped", "Only one request was sent: there was no duplicate.");
  if (counted.executed > 1) {
    return say("no", `${counted.executed} of ${total} duplicates ran at the same time.`);
  }
  if (facts.first === undefined) return say("unknown", "There was nothing to duplicate.");
  if (counted.failed > 0) {
    return say("unknown", `${counted.failed} of ${total} duplicates failed.`);
  }
  if (counted.same > 0) {
    return say("unknown", `${counted.same} duplicates got the same bytes: replayed, or run again.`);
  }
  const replayed = counted.replayed + counted.differs;
  const parts = [
    counted.executed > 0 ? "1 ran" : "",
    counted.refused > 0 ? `${counted.refused} refused (${statuses(facts, "together")})` : "",
    replayed > 0 ? `${replayed} replayed` : "",
  ];
  return say("yes", `Of ${total} at once: ${parts.filter(Boolean).join(", ")}.`);
}

function replaysIdentical(facts: Facts): Check {
  const say = answerTo("replays byte-identical");
  const all = tally(facts, ["together", "retry", "burst"]);
  const retried = tally(facts, ["retry", "burst"]);
  if (all.differs > 0) {
    return say("no", `${plural(all.differs, "replay")} differ from the first answer.`);
  }
  const { first } = facts;
  const fresh = facts.observations.filter(
    (one, index) => isRetry(one) && facts.outcomes[index] === "executed" && one !== first,
  ).length;
  if (fresh > 0) return say("no", `${fresh} later retries got a different answer.`);
  if (first === undefined) return say("unknown", "There was no answer to replay.");
  if (retried.failed > 0) return say("unknown", `${plural(retried.failed, "retry")} failed.`);
  const equal = all.replayed + all.same;
  if (equal === 0) return say("skipped", "No retry was replayed; each was refused.");
  return say("yes", `${plural(equal, "answer")} equal the first, byte by byte.`);
}

function otherBodyRefused(facts: Facts): Check {
  const say = answerTo("another body refused");
  const index = facts.observations.findIndex((one) => one.phase === "other-body");
  const one = facts.observations[index];
  if (one === undefined) {
    return facts.first === undefined
      ? say("unknown", "It was not tried, for nothing succeeded.")
      : say("skipped", "It was not tried: this method carries no body.");
  }
  const outcome = facts.outcomes[index];
  if (outcome === "executed") return say("no", "The same key with another body ran again.");
  if (isSuccess(one)) return say("no", "The same key with another body got the first answer.");
  if (outcome === "refused" && !/^(401|403|404|405|408|425|429)$/.test(String(one.status))) {
    return say("yes", `The same key with another body was refused (${one.status}).`);
  }
  return say("unknown", `The same key with another body got ${one.status ?? one.error}.`);
}

function notesOn(facts: Facts): readonly string[] {
  const notes: string[] = [];
  if (facts.noReceipt) {
    notes.push(
      "The answer carries nothing unique (a receipt, an id), nor a replay marker: " +
        "count the executions on the server, or add either.",
    );
  } else if (facts.unmarkedReplays > 0) {
    notes.push("Replays carry no marker; they were recognised by their identical bytes.");
  }
  const retried = tally(facts, ["retry", "burst"]);
  const settled = retried.replayed + retried.same + retried.executed + retried.differs;
  if (facts.first !== undefined && settled === 0 && retried.refused > 0) {
    notes.push(
      "Retries are refused even after completion: a client that lost its answer stays so.",
    );
  }
  return notes;
}

function nothingSucceeded(observations: readonly Observation[]): string {
  const heard = observations.filter((one) => one.status !== undefined);
  if (heard.length === 0)
    return `It could not be reached: ${observations[0]?.error ?? "no answer"}.`;
  const redirected = heard.find(({ status = 0 }) => status >= 300 && status < 400);
  const place = redirected?.headers["location"];
  if (place !== undefined) return `It redirects to ${place}; race that address.`;
  return `No request succeeded: ${reasons(observations)}.`;
}

function reasons(observations: readonly Observation[]): string {
  const counts = new Map<string, number>();
  for (const { status, error } of observations) {
    const reason = status === undefined ? (error ?? "no answer") : `status ${status}`;
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return [...counts]
    .map(([reason, count]) => `${plural(count, "request")} got ${reason}`)
    .join(", ");
}

function failuresOf(facts: Facts, phases: readonly Phase[]): readonly Observation[] {
  return facts.observations.filter(
    (one, index) => phases.includes(one.phase) && facts.outcomes[index] === "failed",
  );
}

function tally(facts: Facts, phases: readonly Phase[]): Readonly<Record<Outcome, number>> {
  const counts = { executed: 0, replayed: 0, same: 0, differs: 0, refused: 0, failed: 0 };
  facts.observations.forEach((one, index) => {
    const outcome = facts.outcomes[index];
    if (outcome !== undefined && phases.includes(one.phase)) counts[outcome] += 1;
  });
  return counts;
}

function statuses(facts: Facts, phase: Phase): string {
  const found = facts.observations.filter(
    (one, index) => one.phase === phase && facts.outcomes[index] === "refused",
  );
  return [...new Set(found.map((one) => one.status))].join(", ");
}

function answerTo(question: string): (answer: Check["answer"], sentence: string) => Check {
  return (answer, sentence) => ({ question, answer, sentence });
}

/** Sent with the raced key and the raced body. */
function isOriginal({ phase }: Observation): boolean {
  return phase === "together" || phase === "retry" || phase === "burst";
}

function isRetry({ phase }: Observation): boolean {
  return phase === "retry" || phase === "burst";
}

function isRefusal({ status }: Observation): boolean {
  return status !== undefined && status >= 400 && status < 500;
}

function contentOf({ status, digest }: Observation): string {
  return `${status} ${digest}`;
}

function plural(count: number, noun: string): string {
  const many = noun === "retry" ? "retries" : `${noun}s`;
  return `${count} ${count === 1 ? noun : many}`;
}
