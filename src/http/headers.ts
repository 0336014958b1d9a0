/** The layer's own response headers: on executions, on replays, and their exposure to browsers. */
import type { HeaderList } from "./answer.ts";

interface MarkerOptions {
  readonly replayMarkers: readonly string[];
  readonly echoKey: boolean;
  readonly expiryHeaders: boolean;
  readonly compat?: "stripe" | undefined;
}

export interface FirstFacts {
  readonly key: string;
  readonly attempt: number;
  readonly retentionMs: number;
}
export interface ReplayFacts {
  readonly key: string;
  readonly completedAtMs: number;
  readonly expiresInMs: number;
}

/** The parts of a policy that name the layer's headers. */
export interface MarkerHeaders {
  /** Headers of the layer on the response of an execution. */
  readonly firstHeaders: (facts: FirstFacts) => HeaderList;
  /** Headers of the layer on a replay. */
  readonly replayHeadersOf: (facts: ReplayFacts, status: number) => HeaderList;
}

/** The layer's headers as a route has chosen them. */
export function markerHeaders({
  replayMarkers,
  echoKey,
  expiryHeaders,
  compat,
}: MarkerOptions): MarkerHeaders {
  const noRetry =
    compat === "stripe" ? ["x-should-retry", "stripe-should-retry"] : ["x-should-retry"];
  const echo = (key: string): HeaderList => (echoKey ? [["idempotency-key", quoted(key)]] : []);
  const expiry = (ttlMs: number): HeaderList => (expiryHeaders ? expiryOf(ttlMs) : []);
  return {
    firstHeaders: ({ key, attempt, retentionMs }: FirstFacts) => [
      ...echo(key),
      ...expiry(retentionMs),
      ...(attempt > 1 ? [["idempotency-attempt", String(attempt)] as const] : []),
    ],
    replayHeadersOf: ({ key, completedAtMs, expiresInMs }: ReplayFacts, status: number) => [
      ...replayMarkers.map((name) => [name.toLowerCase(), "true"] as const),
      ["idempotency-original-date", new Date(completedAtMs).toUTCString()],
      ...echo(key),
      ...expiry(expiresInMs),
      // A recorded failure stays what it is: SDKs would retry every 5xx (B-116).
      ...(status >= 500 ? noRetry.map((name) => [name, "false"] as const) : []),
    ],
  };
}

// Informative only, so the clock of this machine may serve for the date (B-115).
function expiryOf(ttlMs: number): HeaderList {
  return [
    ["idempotency-expires", new Date(Date.now() + ttlMs).toUTCString()],
    ["idempotency-ttl", String(Math.floor(ttlMs / 1000))],
  ];
}

function quoted(key: string): string {
  return `"${key.replace(/["\\]/g, "\\$&")}"`;
}

/**
 * The value of `Access-Control-Expose-Headers` with the layer's headers in it (B-105): what a
 * script in another origin may read. `present` is the value that a CORS layer has set before.
 */
export function exposedHeaders(present: string, headers: HeaderList): string {
  const names = present.split(",").map((name) => name.trim());
  const lower = new Set(names.map((name) => name.toLowerCase()));
  if (lower.has("*")) return present;
  const more = headers
    .map(([name]) => name)
    .filter((name) => /^(?:idempoten|retry-after|x-should-retry)/.test(name) && !lower.has(name));
  return [...names, ...new Set(more)].filter((name) => name !== "").join(", ");
}

/**
 * Headers of the layer together with their exposure to scripts of another origin, where a CORS
 * layer has let one in (B-105). `present` reads the response as it is so far.
 */
export function withExposure(
  headers: HeaderList,
  present: (name: string) => string | number | readonly string[] | null | undefined,
): HeaderList {
  const origin = present("access-control-allow-origin") ?? undefined;
  if (origin === undefined || headers.length === 0) return headers;
  const exposed = String(present("access-control-expose-headers") ?? "");
  return [...headers, ["access-control-expose-headers", exposedHeaders(exposed, headers)]];
}

/** Each name once, with its value, or its values where there are several. */
export function byName(headers: HeaderList): readonly (readonly [string, string | string[]])[] {
  const groups = Map.groupBy(headers, ([name]) => name);
  return [...groups].map(([name, group]) => {
    const values = group.map(([, value]) => value);
    return [name, values.length === 1 ? String(values[0]) : values];
  });
}

const outcomes: ReadonlySet<string> = new Set([
  "location",
  "etag",
  "last-modified",
  "link",
  "set-cookie",
  "transfer-encoding",
]);

/**
 * Whether a header says what came of a request, rather than what the layers outside add to every
 * response: it must not stay on an answer that leaves instead.
 */
export function saysOutcome(name: string): boolean {
  const lower = name.toLowerCase();
  return outcomes.has(lower) || lower.startsWith("content-");
}
