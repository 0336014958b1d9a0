/**
 * Which responses are recorded, which of their headers, and how a recorded response becomes a
 * replay.
 */
import { LatchkeyError } from "../errors.ts";
import { decodeEnvelope, encodeEnvelope } from "../engine/values/codec.ts";
import type { Answer, AnswerProblem, HeaderList } from "./answer.ts";
import type { MarkerHeaders, ReplayFacts } from "./headers.ts";

/** 4xx that say "not now" or "not you" rather than "this is the outcome" (B-72). */
const passingStatuses: ReadonlySet<number> = new Set([401, 403, 408, 421, 423, 425, 429]);
const replayedHeaders: ReadonlySet<string> = new Set(["location", "etag", "last-modified", "link"]);
// The framing belongs to each exchange; everything else that is content-* describes the body.
const framing: ReadonlySet<string> = new Set(["content-length", "content-range"]);

const credentials =
  /^(?:(?:set-)?cookie2?|authorization|www-authenticate|authentication-info|proxy-.*)$/i;
const connectionHeaders =
  /^(?:connection|keep-alive|te|trailer|transfer-encoding|upgrade|content-length)$/i;

/**
 * Checks a route's `replayHeaders`; throws `TypeError` on a credential (B-29) or on what belongs
 * to one connection (B-30).
 */
export function checkReplayHeaders(names: readonly string[]): readonly string[] {
  const wrong = names.find((name) => credentials.test(name) || connectionHeaders.test(name));
  if (wrong === undefined) return names;
  throw new TypeError(
    `replayHeaders must not name ${wrong}: credentials and connection headers are never recorded.`,
  );
}

/**
 * 2xx, 3xx and 4xx are outcomes, except a few; so is a connection that was upgraded (B-110). 5xx is
 * not: the work may be tried again (B-69, B-71, B-72).
 */
export function isOutcome(status: number): boolean {
  return status === 101 || (status >= 200 && status < 500 && !passingStatuses.has(status));
}

/**
 * The headers that are kept: an allow-list, so that no cookie or credential ever gets to the store
 * (B-29).
 */
export function keptHeaders(headers: HeaderList, also: readonly string[] = []): HeaderList {
  const extra = new Set(also.map((name) => name.toLowerCase()));
  return headers
    .map(([name, value]): readonly [string, string] => [name.toLowerCase(), value])
    .filter(([name]) => isKept(name) || extra.has(name));
}

function isKept(name: string): boolean {
  return replayedHeaders.has(name) || (name.startsWith("content-") && !framing.has(name));
}

/** A response as an adapter saw it; `body` is `undefined` when it was more than may be kept. */
export interface Captured {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Uint8Array | undefined;
}

/** The envelope of a response. */
export function encodeAnswer(answer: Answer, replayHeaders: readonly string[]): Uint8Array {
  const { status } = answer;
  const headers = keptHeaders(answer.headers, replayHeaders);
  return encodeEnvelope("http", { status, headers }, answer.body);
}

/**
 * The envelope of a response that could not be kept: the work is done and must never run again
 * (B-107).
 */
export function encodeOmitted(status: number): Uint8Array {
  return encodeEnvelope("omitted", { status });
}

/** The envelope of a failure that an operator has spoken of without a response. */
export function encodeFailure(status: number): Uint8Array {
  return encodeEnvelope("failed", { status });
}

/** How a route words what is not simply replayed, and marks what is. */
interface Dialect extends Pick<MarkerHeaders, "replayHeadersOf"> {
  readonly problem: AnswerProblem;
}

/** The replay of a recorded result; throws `store-corrupt` when it cannot be read. */
export function decodeAnswer(result: Uint8Array, dialect: Dialect, facts: ReplayFacts): Answer {
  const { kind, head, body } = decodeEnvelope(result);
  const { status, headers = [] } = (head ?? {}) as { status?: number; headers?: HeaderList };
  if (status !== undefined && kind === "http") {
    return { status, headers: [...headers, ...dialect.replayHeadersOf(facts, status)], body };
  }
  switch (kind) {
    case "failed":
      return failure(status, dialect, facts);
    case "http":
      throw new LatchkeyError(
        "store-corrupt",
        "A recorded response has no status. Deploy the version that wrote it, or forget it.",
      );
    case "omitted":
    // Done without a response: an operator's plain word, or a function of the same operation.
    case "undefined":
    case "json":
    case "bytes": {
      const more = status === undefined ? {} : { originalStatus: status };
      return dialect.problem("result-omitted", { more });
    }
  }
}

// What an operator has called failed, in the dialect of the route; no SDK may retry it (B-116).
function failure(status: number | undefined, dialect: Dialect, facts: ReplayFacts): Answer {
  const answer = dialect.problem("failed", status === undefined ? {} : { status });
  const names = new Set(answer.headers.map(([name]) => name));
  const more = dialect.replayHeadersOf(facts, answer.status).filter(([name]) => !names.has(name));
  return { ...answer, headers: [...answer.headers, ...more] };
}
