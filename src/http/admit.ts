/**
 * Admission of one HTTP request: bypass, answer, or execute. Every HTTP rule of the layer stands
 * here or beside it, on plain data; adapters only translate. Questions in order: method, key,
 * scope, body, claim.
 */
import { isLatchkeyError } from "../errors.ts";
import type { Admission } from "../engine/begin.ts";
import type { Engine } from "../engine/engine.ts";
import type { Claim } from "../engine/claim.ts";
import { fingerprintOf } from "../engine/values/fingerprint.ts";
import type { Content } from "../engine/values/fingerprint.ts";
import { problemAnswer } from "./answer.ts";
import type { Answer } from "./answer.ts";
import { readKeyHeader } from "./key-header.ts";
import type { HttpPolicy } from "./policy.ts";
import { decodeAnswer } from "./recorded.ts";

/** What an adapter tells of a request. */
export interface Exchange {
  readonly method: string;
  /** Path and query as the client sent them. */
  readonly target: string;
  /** Method and route pattern, e.g. `POST /orders/:id/capture`. */
  readonly operation: string;
  /** The field lines of a header, in order; empty when absent. */
  readonly header: (name: string) => readonly string[];
  /** Whose key it is; called only when there is a key. */
  readonly scope: () => unknown;
  /** The body, leaving it readable for the handler; `"too-large"` over `maxRequestBytes`. */
  readonly content: () => Promise<Content | "too-large" | "aborted">;
}

export type HttpAdmission =
  | { readonly kind: "bypass" }
  | { readonly kind: "answer"; readonly answer: Answer }
  /** The client went away before its body had arrived: nobody is there to be answered. */
  | { readonly kind: "gone" }
  | { readonly kind: "execute"; readonly claim: Claim; readonly key: string };

/** Decides what to do with a request. Never rejects for what a client or a store does. */
export async function admit(
  engine: Engine,
  policy: HttpPolicy,
  exchange: Exchange,
): Promise<HttpAdmission> {
  if (!policy.methods.has(exchange.method.toUpperCase())) return { kind: "bypass" };
  const { operation } = exchange;
  const header = readKeyHeader(exchange.header("idempotency-key"));
  if (header.kind === "absent") {
    engine.emit({ kind: policy.required ? "key-missing" : "bypassed", operation });
    return policy.required ? refuse(problemAnswer("key-missing")) : { kind: "bypass" };
  }
  if (header.kind === "invalid") {
    engine.emit({ kind: "key-invalid", operation });
    return refuse(problemAnswer("key-invalid", { detail: header.detail }));
  }
  const scope = await scopeOf(exchange);
  if (scope === undefined) {
    const detail = "The request does not say whose Idempotency-Key this is. Authenticate first.";
    return refuse(problemAnswer("key-invalid", { detail }));
  }
  const content = await exchange.content();
  if (content === "aborted") return { kind: "gone" };
  if (content === "too-large") return refuse(problemAnswer("request-too-large"));
  const fingerprint = fingerprintOfExchange(exchange, content);
  if (fingerprint === undefined) {
    const detail = "The JSON body is nested too deeply to be compared with its retries.";
    return refuse(problemAnswer("request-too-large", { detail }));
  }
  const admission = await engine.begin({ operation, scope, key: header.key, fingerprint });
  if (admission.kind === "execute") {
    return { kind: "execute", claim: admission.claim, key: header.key };
  }
  return refuse(answerFor(admission));
}

function refuse(answer: Answer): HttpAdmission {
  return { kind: "answer", answer };
}

function answerFor(admission: Exclude<Admission, { kind: "execute" }>): Answer {
  switch (admission.kind) {
    case "completed":
      return replay(admission);
    case "in-progress":
      return problemAnswer("in-progress", { retryAfterMs: admission.retryAfterMs });
    case "mismatch":
      return problemAnswer("key-reused");
    case "in-doubt":
      return problemAnswer("outcome-unknown");
    case "unavailable":
      return problemAnswer("store-unavailable");
  }
}

// A result nobody can read is locked, never free, and never a raw 500 (B-97).
function replay({ result, completedAtMs }: Extract<Admission, { kind: "completed" }>): Answer {
  try {
    return decodeAnswer(result, completedAtMs);
  } catch (error) {
    if (isLatchkeyError(error)) return problemAnswer("store-unavailable");
    throw error;
  }
}

// A scope function that yields nothing, or throws, refuses the request: never a scope shared by all
// (B-101).
async function scopeOf(exchange: Exchange): Promise<string | undefined> {
  try {
    const scope = await exchange.scope();
    if (Number.isFinite(scope)) return String(scope);
    return typeof scope === "string" && scope !== "" ? scope : undefined;
  } catch {
    return undefined;
  }
}

function fingerprintOfExchange(
  exchange: Exchange,
  content: Content,
): ReturnType<typeof fingerprintOf> | undefined {
  const mediaType = exchange.header("content-type").join().trim().toLowerCase();
  try {
    return fingerprintOf([exchange.target, mediaType], content);
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return undefined;
    throw error;
  }
}

/**
 * A body by its media type: JSON by value, everything else (and JSON that cannot be parsed) by its
 * bytes (B-62).
 */
export function contentOfBytes(bytes: Uint8Array | undefined, mediaType: string): Content {
  if (bytes === undefined) return { kind: "none" };
  if (bytes.length === 0 || !isJson(mediaType)) return { kind: "bytes", bytes };
  try {
    return {
      kind: "json",
      value: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)),
    };
  } catch {
    return { kind: "bytes", bytes };
  }
}

/** Whether a `Content-Type` says JSON, `+json` included. */
export function isJson(mediaType: string): boolean {
  return /^application\/(?:[\w.!#$&^-]+\+)?json\s*(?:;|$)/i.test(mediaType.trim());
}
