/**
 * What rules say of answers, and the words for what they got instead. A broken rule is unsafe when
 * it means that something ran twice, or that bytes reached somebody they were not meant for.
 */
import type { WireAnswer } from "./wire/answer-reader.ts";
import { valuesOf } from "./wire/answer-reader.ts";

/** A rule does not hold. */
export class RuleBroken extends Error {
  override readonly name = "RuleBroken";
  /** Whether work may be done twice, or an answer reach somebody else. */
  readonly unsafe: boolean;
  constructor(sentence: string, unsafe = false) {
    super(sentence);
    this.unsafe = unsafe;
  }
}

/** A rule cannot be seen here; the message is the reason. */
export class RuleSkipped extends Error {
  override readonly name = "RuleSkipped";
}

/** Throws `RuleBroken` with the sentence unless it holds. */
export function check(holds: boolean, sentence: string): asserts holds {
  if (!holds) throw new RuleBroken(sentence);
}

/** As `check`, for what would do harm. */
export function checkSafe(holds: boolean, sentence: string): asserts holds {
  if (!holds) throw new RuleBroken(sentence, true);
}

/** The one value of a header; several lines are joined with a comma, none is `undefined`. */
export function headerOf({ headers }: WireAnswer, name: string): string | undefined {
  const values = valuesOf(headers, name);
  return values.length === 0 ? undefined : values.join(", ");
}

const markers = ["idempotency-replayed", "idempotent-replayed"];

/** Whether the answer says of itself that it is a replay. */
export function isReplay(answer: WireAnswer): boolean {
  return markers.some((name) => /^(?:true|1|\?1)$/i.test(headerOf(answer, name) ?? ""));
}

/** The answer in a few words: `409 in-progress`, `200, a replay`, `no answer (reset)`. */
export function brief(answer: WireAnswer): string {
  if (answer.status === 0) return `no answer (${answer.cut ?? "nothing came"})`;
  const code = problemOf(answer)?.["code"];
  const words = [String(answer.status), typeof code === "string" ? code : ""];
  const more = [
    isReplay(answer) ? "a replay" : "",
    answer.cut === undefined ? "" : `cut: ${answer.cut}`,
  ];
  return [words.filter(Boolean).join(" "), ...more.filter(Boolean)].join(", ");
}

/** The problem document of an answer; `undefined` when it has none. */
export function problemOf(answer: WireAnswer): Readonly<Record<string, unknown>> | undefined {
  if (!/^application\/(?:[\w.-]+\+)?json\b/i.test(headerOf(answer, "content-type") ?? "")) {
    return undefined;
  }
  try {
    const value: unknown = JSON.parse(answer.body.toString());
    return typeof value === "object" && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Checks the status, and that the answer is whole. */
export function checkStatus(answer: WireAnswer, status: number, who: string): void {
  check(
    answer.status === status && answer.cut === undefined,
    `${who} got ${brief(answer)}; expected ${status}.`,
  );
}

/** Checks that an answer is the recorded one: its status, its bytes, its mark. */
export function checkReplay(answer: WireAnswer, first: WireAnswer, who = "The retry"): void {
  checkStatus(answer, first.status, who);
  checkBytes(answer, first, who);
  check(
    isReplay(answer),
    `${who} got the recorded answer without a mark (Idempotency-Replayed: true).`,
  );
}

/** Checks that two answers have the same bytes. */
export function checkBytes(answer: WireAnswer, first: WireAnswer, who = "The retry"): void {
  check(
    answer.body.equals(first.body),
    `${who} got ${differenceOf(answer.body, first.body)} the first answer.`,
  );
}

function differenceOf(got: Buffer, wanted: Buffer): string {
  if (got.length !== wanted.length) {
    return `${got.length} bytes instead of the ${wanted.length} of`;
  }
  const at = got.findIndex((byte, index) => byte !== wanted[index]);
  return `${got.length} bytes that differ from byte ${at} on from`;
}

export interface ExpectedProblem {
  readonly status: number;
  readonly code: string;
  readonly title?: string;
}

/** Checks that an answer is a problem document (RFC 9457) with this status and code. */
export function checkProblem(answer: WireAnswer, expected: ExpectedProblem, who: string): void {
  const { status, code, title } = expected;
  checkStatus(answer, status, who);
  const mediaType = headerOf(answer, "content-type") ?? "no content type";
  check(
    /^application\/problem\+json\b/i.test(mediaType),
    `${who} got ${status} with ${mediaType}; expected application/problem+json.`,
  );
  const problem = problemOf(answer) ?? {};
  check(
    problem["code"] === code,
    `${who} got the code ${JSON.stringify(problem["code"])}; expected "${code}".`,
  );
  if (title === undefined) return;
  check(
    problem["title"] === title,
    `${who} got the title ${JSON.stringify(problem["title"])}; expected "${title}".`,
  );
}
