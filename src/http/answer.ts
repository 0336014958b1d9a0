/**
 * An HTTP answer as plain data, and the problem documents (RFC 9457) that the layer itself answers
 * with.
 */

/** Header names and values in order; several of one name stay several. */
export type HeaderList = readonly (readonly [name: string, value: string])[];
export interface Answer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
}

/** Statuses whose responses have no body, whatever was written. */
export const bodilessStatuses: ReadonlySet<number> = new Set([204, 205, 304]);

export type ProblemCode =
  | "key-missing"
  | "key-invalid"
  | "in-progress"
  | "outcome-unknown"
  | "result-omitted"
  | "failed"
  | "key-reused"
  | "request-too-large"
  | "store-unavailable";

interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly retry: boolean;
}

const docs = "https://latchkey.dev/problems";
const problems: Readonly<Record<ProblemCode, Problem>> = {
  "key-missing": {
    status: 400,
    title: "Idempotency-Key is missing",
    detail:
      "This operation requires the Idempotency-Key header. Send one, the same on every retry.",
    retry: false,
  },
  "key-invalid": {
    status: 400,
    title: "Idempotency-Key is invalid",
    detail: "The key is one quoted string or 1 to 255 visible ASCII characters.",
    retry: false,
  },
  "in-progress": {
    status: 409,
    title: "A request is outstanding for this Idempotency-Key",
    detail: "The first request with this key is still running. Retry with the same key.",
    retry: true,
  },
  "outcome-unknown": {
    status: 409,
    title: "The outcome for this Idempotency-Key is unknown",
    detail:
      "The first request may or may not have taken effect. Retrying cannot tell; ask support.",
    retry: false,
  },
  "result-omitted": {
    status: 409,
    title: "The response for this Idempotency-Key was not kept",
    detail:
      "The operation was executed, but its response could not be recorded. Look the outcome up.",
    retry: false,
  },
  failed: {
    status: 500,
    title: "The operation failed",
    detail:
      "The first request failed for good and is not executed again. Use a new key to try anew.",
    retry: false,
  },
  "key-reused": {
    status: 422,
    title: "Idempotency-Key is already used",
    detail: "This key came with another request before. Use a new key for a new operation.",
    retry: false,
  },
  "request-too-large": {
    status: 413,
    title: "The request body is too large",
    detail: "The body exceeds what this operation accepts together with an Idempotency-Key.",
    retry: false,
  },
  "store-unavailable": {
    status: 503,
    title: "Idempotency cannot be guaranteed right now",
    detail: "Nothing was executed. Retry with the same key.",
    retry: true,
  },
};

export interface ProblemOptions {
  readonly status?: number;
  readonly retryAfterMs?: number;
  /** Instead of the code's own words; never with a key in it. */
  readonly detail?: string;
  /** Further members of the document. */
  readonly more?: object;
}

/** How a dialect answers for a problem. */
export type AnswerProblem = (code: ProblemCode, options?: ProblemOptions) => Answer;

/** The answer for a problem code. `retryAfterMs` becomes whole seconds, at least 1. */
export function problemAnswer(code: ProblemCode, options: ProblemOptions = {}): Answer {
  const { title, detail, retry } = problems[code];
  const { status = problems[code].status } = options;
  const type = `${docs}#${code}`;
  const document = { type, title, status, code, detail: options.detail ?? detail, ...options.more };
  const headers: [string, string][] = [
    ["content-type", "application/problem+json"],
    ["cache-control", "no-store"],
    ["link", `<${type}>; rel="describedby"`],
    ["x-should-retry", String(retry)],
  ];
  if (retry) {
    const seconds = Math.max(1, Math.ceil((options.retryAfterMs ?? 1000) / 1000));
    headers.push(["retry-after", String(seconds)]);
  }
  return { status, headers, body: Buffer.from(JSON.stringify(document), "utf8") };
}
