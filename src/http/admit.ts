/**
 * Admission of one HTTP request: bypass, answer, or execute. Every HTTP rule of the layer stands
 * here or beside it, on plain data; adapters only translate. Questions in order: method, key,
 * scope, body, claim.
 */
import { isLatchkeyError } from "../errors.ts";
import type { Admission } from "../engine/begin.ts";
import type { Engine } from "../engine/engine.ts";
import type { Events } from "../engine/events.ts";
import type { Content } from "../engine/values/fingerprint.ts";
import type { Answer, HeaderList } from "./answer.ts";
import { acceptable } from "./recording/encoding.ts";
import { executionOf } from "./execution.ts";
import type { Execution } from "./execution.ts";
import { checkedKey, readKeyHeader } from "./key-header.ts";
import type { KeyHeader } from "./key-header.ts";
import { enterLayer, refuseNested, skipOuter } from "./layers.ts";
import type { HttpPolicy } from "./policy.ts";
import { decodeAnswer } from "./recorded.ts";
import { requestFingerprint } from "./target.ts";

/** What an adapter tells of a request. */
export interface Exchange {
  /** The request itself: the same object for every layer on its way. */
  readonly request: object;
  readonly method: string;
  /** Path and query as the client sent them. */
  readonly target: string;
  /** Method and route pattern, e.g. `POST /orders/:id/capture`. */
  readonly operation: string;
  /** The field lines of a header, in order; empty when absent. */
  readonly header: (name: string) => readonly string[];
  /** Whose key it is; called only when there is a key. */
  readonly scope: () => unknown;
  /** The key, where it does not come from the header. */
  readonly key?: (() => string | undefined | Promise<string | undefined>) | undefined;
  /** The body, leaving it readable for the handler; `"too-large"` over `maxRequestBytes`. */
  readonly content: () => Promise<Content | "too-large" | "aborted">;
  /** Aborts when the client goes away: then it is not waited for any longer. */
  readonly signal?: AbortSignal | undefined;
  /** Keeps the platform at work until a promise is settled. */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined;
}

export type HttpAdmission =
  /** The handler runs unprotected; `headers` are to be set on its response. */
  | { readonly kind: "bypass"; readonly headers: HeaderList }
  | { readonly kind: "answer"; readonly answer: Answer }
  /** The client went away before its body had arrived: nobody is there to be answered. */
  | { readonly kind: "gone" }
  | { readonly kind: "execute"; readonly execution: Execution };

/**
 * Decides what to do with a request. Never rejects for what a client or a store does; rejects where
 * two layers on the way of the request protect the same operation.
 */
export async function admit(
  engine: Engine,
  policy: HttpPolicy,
  exchange: Exchange,
): Promise<HttpAdmission> {
  if (!policy.methods.has(exchange.method.toUpperCase())) return { kind: "bypass", headers: [] };
  const { operation } = exchange;
  const key = await keyOf(exchange, policy);
  if (key.kind === "absent") {
    engine.emit({ kind: policy.required ? "key-missing" : "bypassed", operation });
    return policy.required
      ? refuse(exchange, policy.problem("key-missing"))
      : { kind: "bypass", headers: [] };
  }
  if (key.kind === "invalid") {
    engine.emit({ kind: "key-invalid", operation });
    return refuse(exchange, policy.problem("key-invalid", { detail: key.detail }));
  }
  return admitKeyed(engine, policy, { ...exchange, idempotencyKey: key.key });
}

interface KeyedExchange extends Exchange {
  readonly idempotencyKey: string;
}

async function admitKeyed(
  engine: Engine,
  policy: HttpPolicy,
  exchange: KeyedExchange,
): Promise<HttpAdmission> {
  const { operation, target, header, idempotencyKey: key } = exchange;
  const scope = await scopeOf(exchange);
  if (scope === undefined) {
    const detail = "The request does not say whose Idempotency-Key this is. Authenticate first.";
    return refuse(exchange, policy.problem("key-invalid", { detail }));
  }
  refuseNested(exchange.request, engine, { operation, scope, key });
  const content = await exchange.content();
  if (content === "aborted") return { kind: "gone" };
  if (content === "too-large") return refuse(exchange, policy.problem("request-too-large"));
  const asked = { target, content, mediaType: header("content-type").join() };
  const fingerprint = requestFingerprint(asked, policy.fingerprint);
  if (fingerprint === undefined) {
    const detail = "The JSON body is nested too deeply to be compared with its retries.";
    return refuse(exchange, policy.problem("request-too-large", { detail }));
  }
  const waitMs = waitMsOf(header("prefer"), policy.waitMs);
  const intent = { operation, scope, key, fingerprint, waitMs, ...overrides(policy, exchange) };
  const admission = await engine.begin(intent);
  if (admission.kind === "execute") {
    const execution = executionOf(admission.claim, policy, { key, scope, events: engine });
    enterLayer(exchange.request, { engine, operation, scope, key, execution });
    return { kind: "execute", execution };
  }
  if (admission.kind === "unavailable" && policy.open && !isCorrupt(admission.error)) {
    admission.bypass();
    return { kind: "bypass", headers: [["idempotency-status", "bypassed"]] };
  }
  const answer = answerFor(admission, policy, { key, operation, events: engine });
  if (admission.kind !== "completed") return refuse(exchange, answer);
  return { kind: "answer", answer: acceptable(answer, header("accept-encoding")) };
}

// What was recorded is there, only not to be read: an open route is open to a store that is down,
// not to a second execution (B-97).
function isCorrupt(error: unknown): boolean {
  return isLatchkeyError(error) && error.code === "store-corrupt";
}

function refuse({ request }: Exchange, answer: Answer): HttpAdmission {
  skipOuter(request);
  return { kind: "answer", answer };
}

// Absent stays absent: an engine option must not be overruled by undefined.
function overrides(policy: HttpPolicy, { signal, waitUntil }: Exchange): object {
  const { leaseMs, retentionMs, onAbandoned, transaction } = policy;
  const own = { leaseMs, retentionMs, onAbandoned, transaction };
  const all = Object.entries({ ...own, signal, waitUntil });
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

async function keyOf(exchange: Exchange, policy: HttpPolicy): Promise<KeyHeader> {
  if (exchange.key === undefined) {
    return readKeyHeader(exchange.header("idempotency-key"), policy.strict);
  }
  const key = await exchange.key();
  return key === undefined ? { kind: "absent" } : checkedKey(key);
}

/** `Prefer: wait=3` asks for less waiting than the route allows, never for more (B-53). */
function waitMsOf(prefer: readonly string[], allowedMs: number): number {
  const seconds = /(?:^|[,;\s])wait\s*=\s*(\d{1,6})/i.exec(prefer.join())?.[1];
  return seconds === undefined ? allowedMs : Math.min(allowedMs, Number(seconds) * 1000);
}

function answerFor(
  admission: Exclude<Admission, { kind: "execute" }>,
  policy: HttpPolicy,
  asked: Asked,
): Answer {
  switch (admission.kind) {
    case "completed":
      return replay(admission, policy, asked);
    case "in-progress":
      return policy.problem("in-progress", { retryAfterMs: admission.retryAfterMs });
    case "mismatch":
      return policy.problem("key-reused");
    case "in-doubt":
      return policy.problem("outcome-unknown");
    case "unavailable":
      return isCorrupt(admission.error) ? unreadable(policy) : policy.problem("store-unavailable");
  }
}

interface Asked {
  readonly key: string;
  readonly operation: string;
  readonly events: Events;
}

// A result nobody can read is locked, never free, and never a raw 500 (B-97).
function replay(
  completed: Extract<Admission, { kind: "completed" }>,
  policy: HttpPolicy,
  { key, operation, events }: Asked,
): Answer {
  try {
    return decodeAnswer(completed.result, policy, { ...completed, key });
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    events.emit({ kind: "store-corrupt", operation, cause: error });
    return unreadable(policy);
  }
}

function unreadable(policy: HttpPolicy): Answer {
  const detail = "What was recorded for this key cannot be read now. Nothing was executed again.";
  return policy.problem("store-unavailable", { detail });
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
