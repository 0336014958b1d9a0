/**
 * The dialect of Stripe: defaults, statuses and the error envelope that its SDKs, and the many made
 * in their image, expect of a server.
 */
import type { Answer, ProblemCode, ProblemOptions } from "./answer.ts";
import { problemAnswer } from "./answer.ts";

/**
 * Options that `compat: "stripe"` sets, unless the route says otherwise. Stripe replays stored
 * 500s.
 */
export const stripeDefaults: Readonly<{
  record: "all";
  mismatchStatus: 400;
  replayMarkers: readonly string[];
}> = Object.freeze({
  record: "all",
  mismatchStatus: 400,
  replayMarkers: Object.freeze(["Idempotent-Replayed"]),
});

const codes: Partial<Readonly<Record<ProblemCode, string>>> = {
  "in-progress": "idempotency_key_in_use",
  "key-reused": "idempotency_key_reused",
};

/** A refusal in Stripe's envelope: `{ "error": { "type", "code", "message", "doc_url" } }`. */
export function stripeAnswer(code: ProblemCode, options: ProblemOptions = {}): Answer {
  const { status, headers, body } = problemAnswer(code, options);
  const { type, detail } = JSON.parse(Buffer.from(body).toString()) as Record<string, string>;
  const error = {
    type: status >= 500 ? "api_error" : "idempotency_error",
    code: codes[code] ?? code.replaceAll("-", "_"),
    message: detail,
    doc_url: type,
  };
  const retry = headers.find(([name]) => name === "x-should-retry")?.[1] ?? "false";
  const others = headers.filter(([name]) => name !== "content-type");
  return {
    status,
    headers: [["content-type", "application/json"], ...others, ["stripe-should-retry", retry]],
    body: Buffer.from(JSON.stringify({ error })),
  };
}
