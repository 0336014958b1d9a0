/**
 * Durations at the door: `"30s"`, `"250ms"`, `"24h"` or milliseconds become a number of
 * milliseconds, once.
 */

const unitMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const longestMs = 366 * 86_400_000;

/** A number of milliseconds, or a string such as `"500ms"`, `"30s"`, `"5m"`, `"24h"`, `"7d"`. */
export type Duration = number | string;

/**
 * Milliseconds of a duration named `name`; throws `TypeError` unless it lies within 1 ms (or
 * `leastMs`) and 366 days.
 */
export function durationMs(value: Duration, name: string, leastMs = 1): number {
  const ms = typeof value === "number" ? value : parse(value);
  if (Number.isInteger(ms) && ms >= leastMs && ms <= longestMs) return ms;
  throw new TypeError(
    `${name} must be a duration such as "30s" or milliseconds from ${leastMs} to ${longestMs}; ` +
      `got ${JSON.stringify(value)}.`,
  );
}

function parse(text: unknown): number {
  const match = typeof text === "string" ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim()) : null;
  return match === null
    ? Number.NaN
    : Math.round(Number(match[1]) * (unitMs[match[2] ?? ""] ?? Number.NaN));
}
