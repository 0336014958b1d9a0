/**
 * Redaction of responses: what a route's `redact` makes of a response is recorded in its place. The
 * first client gets the original, replays the redacted one.
 */
import type { Claim } from "../../engine/claim.ts";
import type { Events } from "../../engine/events.ts";
import { redactedBy } from "../../engine/results/redact.ts";
import type { Answer, HeaderList } from "../answer.ts";
import { encodeAnswer, encodeOmitted, keptHeaders } from "../recorded.ts";

/** What a `redact` returns: the response to be recorded, its body as bytes or as UTF-8 text. */
export interface RedactedResponse {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Uint8Array | string;
}

/**
 * Makes of a response what may be kept of it. It gets the headers that would be recorded and a copy
 * of the body as it left the handler; it must not wait.
 */
export type Redact = (response: Answer) => RedactedResponse;

/** What a route keeps of a response. */
interface Keeping {
  readonly redact: Redact | undefined;
  readonly replayHeaders: readonly string[];
}

/** The bytes to record for a response, redacted where the route says so. */
export function recordedBytes(
  answer: Answer,
  { redact, replayHeaders }: Keeping,
  { events, claim }: { readonly events: Events; readonly claim: Claim },
): Uint8Array {
  if (redact === undefined) return encodeAnswer(answer, replayHeaders);
  const headers = keptHeaders(answer.headers, replayHeaders);
  const copy = { status: answer.status, headers, body: new Uint8Array(answer.body) };
  const redacted = redactedBy(() => redact(copy), isResponse);
  if (redacted.kind === "failed") {
    const { operation, attempt } = claim;
    events.emit({ kind: "redact-failed", operation, attempt, cause: redacted.cause });
    return encodeOmitted(answer.status);
  }
  const { status, headers: kept, body } = redacted.kept;
  const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : body;
  return encodeAnswer({ status, headers: kept, body: bytes }, replayHeaders);
}

// A replay sends it without a further look, so it must be sendable.
function isResponse(kept: unknown): boolean {
  const { status, headers, body } = (kept ?? {}) as Partial<RedactedResponse>;
  const hasBody = typeof body === "string" || body instanceof Uint8Array;
  return isStatus(status) && hasBody && Array.isArray(headers) && headers.every(isHeader);
}

function isStatus(status: unknown): boolean {
  return Number.isInteger(status) && Number(status) >= 200 && Number(status) <= 599;
}

function isHeader(header: unknown): boolean {
  if (!Array.isArray(header) || header.length !== 2) return false;
  const [name, value] = header as readonly unknown[];
  if (typeof name !== "string" || typeof value !== "string") return false;
  return /^[\w!#$%&'*+.^`|~-]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}
