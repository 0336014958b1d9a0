/**
 * The options every HTTP adapter shares, their defaults in one frozen object, and the policy made
 * of them: checked once, at construction.
 */
import { durationMs } from "../duration.ts";
import type { Duration } from "../duration.ts";
import type { OnAbandoned } from "../engine/engine.ts";
import { checkTransactions } from "../engine/transaction/transactions.ts";
import type { Transactions } from "../engine/transaction/transactions.ts";
import { problemAnswer } from "./answer.ts";
import type { AnswerProblem } from "./answer.ts";
import { markerHeaders } from "./headers.ts";
import type { MarkerHeaders } from "./headers.ts";
import { checkReplayHeaders, isOutcome } from "./recorded.ts";
import type { Redact } from "./recording/redact.ts";
import { stripeAnswer, stripeDefaults } from "./stripe.ts";

/**
 * Options of a route. `Req` is what the adapter calls a request; `Rest` is what a handler gets
 * beside it, where the adapter passes that on.
 */
export interface HttpOptions<Req, Rest extends readonly unknown[] = readonly []> {
  /**
   * Whose keys these are: a function of the request, run after authentication, or the explicit
   * literal `"public"`. Required: without it one customer's response could reach another.
   */
  readonly scope: "public" | ((request: Req, ...rest: Rest) => unknown);
  /** Refuse requests without a key. Default false. */
  readonly required?: boolean;
  /** Methods that are protected. Default `["POST", "PATCH"]`. */
  readonly methods?: readonly string[];
  /**
   * Method and route pattern, when the adapter cannot know them. Default: what the framework says,
   * or the path.
   */
  readonly operation?: string;
  /** Where the key comes from. Default: the `Idempotency-Key` header. */
  readonly key?: (request: Req, ...rest: Rest) => string | undefined | Promise<string | undefined>;
  /** `"strict"` takes quoted strings only, as the draft has it. Default `"lenient"`. */
  readonly keySyntax?: "lenient" | "strict";
  /** What a duplicate is compared by. Default: the whole body, JSON by value, query as sent. */
  readonly fingerprint?: FingerprintOptions;
  /** What a duplicate gets while the first runs. Default `"reject"`: 409 at once. */
  readonly onConflict?: "reject" | { readonly wait: Duration };
  /** What happens when an uncommitted owner's lease ends. Default: the engine's. */
  readonly onAbandoned?: OnAbandoned;
  /** `"open"` runs the handler unprotected while the store is down. Default `"closed"`: 503. */
  readonly onStoreError?: "closed" | "open";
  /**
   * Where transactions on the store's own database come from, e.g. `beginOn(pool)`: the claim, the
   * handler's writes in it and the record of its response are committed together, before the last
   * byte leaves, or not at all. Default: no transaction.
   */
  readonly transaction?: Transactions<unknown>;
  /** How long a silent owner blocks its key. Default: the engine's. */
  readonly lease?: Duration;
  /** How long a response is kept. Default: the engine's. */
  readonly retention?: Duration;
  /**
   * Which responses are recorded, by status. Default `"outcomes"`: 2xx, 3xx and 4xx except 401,
   * 403, 408, 421, 423, 425, 429. `"all"` keeps 5xx, too.
   */
  readonly record?: "outcomes" | "all" | ((status: number) => boolean);
  /**
   * Further response headers to record and replay, beside the allow-list. Default none. Cookies,
   * credentials and connection headers are refused.
   */
  readonly replayHeaders?: readonly string[];
  /**
   * What is recorded instead of a response, e.g. without a card number: the first client gets the
   * original, replays what this returned. When it throws, the response is omitted. Default: the
   * response as it is.
   */
  readonly redact?: Redact;
  /** Headers that mark a replay. Default `["Idempotency-Replayed"]`. */
  readonly replayMarkers?: readonly string[];
  /** `"stripe"` speaks Stripe's dialect: its error envelope, statuses, markers and stored 500s. */
  readonly compat?: "stripe";
  /** Send the key back in `Idempotency-Key`. Default false. */
  readonly echoKey?: boolean;
  /** Send `Idempotency-Expires` and `Idempotency-TTL`. Default false. */
  readonly expiryHeaders?: boolean;
  /** Status of a mismatch. Default 422. */
  readonly mismatchStatus?: 400 | 409 | 422;
  /** Largest response body that is recorded, in bytes; a larger one is omitted. Default 1 MiB. */
  readonly maxRecordedBytes?: number;
  /**
   * Largest request body read for the fingerprint, in bytes; a larger one gets 413. Default 1 MiB.
   */
  readonly maxRequestBytes?: number;
}

export interface FingerprintOptions {
  /** `"bytes"` compares JSON byte for byte, too. Default `"value"`. */
  readonly json?: "value" | "bytes";
  /** `"unordered"` takes `?a=1&b=2` and `?b=2&a=1` for the same. Default `"ordered"`. */
  readonly query?: "ordered" | "unordered";
  /** Fields of a JSON object that do not count, such as a client's time stamp. Default none. */
  readonly ignoreFields?: readonly string[];
}

type Given = Omit<
  HttpOptions<never>,
  "scope" | "operation" | "key" | "compat" | "redact" | "transaction"
>;

/** Every shared option and its default; an option without one is the engine's or off. */
export const httpDefaults: Readonly<Required<Omit<Given, "onAbandoned" | "lease" | "retention">>> =
  Object.freeze({
    required: false,
    methods: Object.freeze(["POST", "PATCH"]),
    keySyntax: "lenient",
    fingerprint: Object.freeze({}),
    onConflict: "reject",
    onStoreError: "closed",
    record: "outcomes",
    replayHeaders: Object.freeze([]),
    replayMarkers: Object.freeze(["Idempotency-Replayed"]),
    echoKey: false,
    expiryHeaders: false,
    mismatchStatus: 422,
    maxRecordedBytes: 1_048_576,
    maxRequestBytes: 1_048_576,
  });

/** The names of all options of a route. */
export const httpOptionNames: ReadonlySet<string> = new Set(
  ["scope", "operation", "key", "compat", "redact", "transaction"]
    .concat("onAbandoned", "lease", "retention")
    .concat(Object.keys(httpDefaults)),
);

/** The options of one route, checked and ready to use. */
export interface HttpPolicy extends MarkerHeaders {
  readonly required: boolean;
  readonly methods: ReadonlySet<string>;
  readonly strict: boolean;
  readonly fingerprint: FingerprintOptions;
  /** Longest wait of a duplicate, in ms; 0 refuses at once. */
  readonly waitMs: number;
  readonly open: boolean;
  readonly transaction: Transactions<unknown> | undefined;
  readonly onAbandoned: OnAbandoned | undefined;
  readonly leaseMs: number | undefined;
  readonly retentionMs: number | undefined;
  readonly record: (status: number) => boolean;
  readonly replayHeaders: readonly string[];
  readonly redact: Redact | undefined;
  readonly maxRecordedBytes: number;
  readonly maxRequestBytes: number;
  /** The answer of the layer for a problem, in the route's dialect. */
  readonly problem: AnswerProblem;
}

/**
 * Checks an adapter's options; throws `TypeError` on a missing scope, an unknown option or a wrong
 * value.
 */
export function httpPolicy<Req, Rest extends readonly unknown[]>(
  options: HttpOptions<Req, Rest>,
): HttpPolicy {
  if (typeof options?.scope !== "function" && options?.scope !== "public") {
    throw new TypeError(
      'idempotent needs { scope }: a function such as (req) => req.user.id, or "public".',
    );
  }
  for (const name of Object.keys(options)) {
    if (!httpOptionNames.has(name))
      throw new TypeError(`idempotent does not know the option "${name}".`);
  }
  oneOf("compat", options.compat, [undefined, "stripe"]);
  const dialect = options.compat === "stripe" ? stripeDefaults : {};
  const given = { ...httpDefaults, ...dialect, ...options };
  oneOf("keySyntax", given.keySyntax, ["lenient", "strict"]);
  oneOf("onStoreError", given.onStoreError, ["closed", "open"]);
  oneOf("onAbandoned", given.onAbandoned, [undefined, "takeover", "in-doubt"]);
  oneOf("mismatchStatus", given.mismatchStatus, [400, 409, 422]);
  const { fingerprint, mismatchStatus, replayHeaders, required, onAbandoned } = given;
  return {
    required,
    onAbandoned,
    fingerprint,
    replayHeaders: checkReplayHeaders(replayHeaders),
    problem: problemOf(options.compat === "stripe" ? stripeAnswer : problemAnswer, mismatchStatus),
    methods: new Set(given.methods.map((method) => method.toUpperCase())),
    strict: given.keySyntax === "strict",
    open: given.onStoreError === "open",
    transaction: transactionOf(given),
    waitMs: waitMsOf(given.onConflict),
    leaseMs: optionalMs(given.lease, "lease", 100),
    retentionMs: optionalMs(given.retention, "retention", 1),
    record: recordOf(given.record),
    redact: redactOf(options.redact),
    maxRecordedBytes: bytes(given.maxRecordedBytes, "maxRecordedBytes"),
    maxRequestBytes: bytes(given.maxRequestBytes, "maxRequestBytes"),
    ...markerHeaders(given),
  };
}

/** The scope of a request by its options. */
export function scopeFor<Req, Rest extends readonly unknown[]>(
  { scope }: HttpOptions<Req, Rest>,
  request: Req,
  ...rest: Rest
): unknown {
  return scope === "public" ? "public" : scope(request, ...rest);
}

/** The key of a request, where the options take it from elsewhere than the header. */
export function keyFor<Req, Rest extends readonly unknown[]>(
  { key }: HttpOptions<Req, Rest>,
  request: Req,
  ...rest: Rest
): (() => string | undefined | Promise<string | undefined>) | undefined {
  return key === undefined ? undefined : () => key(request, ...rest);
}

function problemOf(dialect: AnswerProblem, mismatch: number): AnswerProblem {
  return (code, options) =>
    dialect(code, code === "key-reused" ? { ...options, status: mismatch } : options);
}

function transactionOf({
  transaction,
  onStoreError,
}: Pick<HttpOptions<never>, "transaction" | "onStoreError">): HttpPolicy["transaction"] {
  if (transaction === undefined) return undefined;
  if (onStoreError === "open") {
    throw new TypeError('A route in a transaction has no other way: leave onStoreError "closed".');
  }
  return checkTransactions(transaction);
}

function waitMsOf(onConflict: HttpOptions<never>["onConflict"]): number {
  if (onConflict === "reject") return 0;
  if (typeof onConflict === "object") return durationMs(onConflict.wait, "onConflict.wait");
  throw new TypeError('onConflict must be "reject" or { wait: "10s" }.');
}

function recordOf(record: HttpOptions<never>["record"]): (status: number) => boolean {
  if (record === "outcomes") return isOutcome;
  if (record === "all") return () => true;
  if (typeof record === "function") return record;
  throw new TypeError('record must be "outcomes", "all" or a function of the status.');
}

function redactOf(redact: unknown): Redact | undefined {
  if (redact === undefined || typeof redact === "function") return redact as Redact | undefined;
  throw new TypeError("redact must be a function of the response.");
}

function optionalMs(value: Duration | undefined, name: string, least: number): number | undefined {
  return value === undefined ? undefined : durationMs(value, name, least);
}

function oneOf(name: string, value: unknown, allowed: readonly unknown[]): void {
  if (allowed.includes(value)) return;
  const words = allowed.filter((one) => one !== undefined).map((one) => JSON.stringify(one));
  throw new TypeError(`${name} must be ${words.join(" or ")}; got ${JSON.stringify(value)}.`);
}

function bytes(value: number, name: string): number {
  if (Number.isInteger(value) && value >= 0) return value;
  throw new TypeError(`${name} must be a whole number of bytes; got ${value}.`);
}
