/** What all results say together: the verdict, the headline, the counts, the sections. */
import type { RuleResult } from "../../conformance/http/rule.ts";

/** `unsafe` and `broken` are both broken rules; `unknown` when rules are left untried, or all. */
export type Verdict = "held" | "broken" | "unsafe" | "unknown";

/** The verdict on a server. */
export function verdictOf(results: readonly RuleResult[]): Verdict {
  if (results.some((result) => result.unsafe === true)) return "unsafe";
  const outcomes = new Set(results.map(({ outcome }) => outcome));
  if (outcomes.has("broken")) return "broken";
  const isComplete = results.every((result) => result.untried !== true);
  return outcomes.has("held") && isComplete ? "held" : "unknown";
}

const headlines: Readonly<Record<Verdict, string>> = {
  held: "HELD: every rule that could be tried holds.",
  broken: "BROKEN: rules do not hold, though nothing was seen to run twice or to leak.",
  unsafe: "UNSAFE: work can be done twice, or an answer reach the wrong request or caller.",
  unknown: "COULD NOT TELL: nothing is broken, but not every rule was tried.",
};

/** The verdict in one line. */
export function headlineOf(results: readonly RuleResult[]): string {
  return headlines[verdictOf(results)];
}

export interface Counts {
  readonly held: number;
  readonly broken: number;
  /** Of the broken ones. */
  readonly unsafe: number;
  /** Without those that only a mounted route shows. */
  readonly skipped: number;
  readonly mountedOnly: number;
}

/** How the rules ended, counted. */
export function countsOf(results: readonly RuleResult[]): Counts {
  const count = (outcome: RuleResult["outcome"]): number =>
    results.filter((result) => result.outcome === outcome).length;
  const unsafe = results.filter((result) => result.unsafe === true).length;
  const mountedOnly = results.filter((result) => result.mountedOnly === true).length;
  const skipped = count("skipped") - mountedOnly;
  return { held: count("held"), broken: count("broken"), unsafe, skipped, mountedOnly };
}

/** The counts in words. */
export function summaryOf(results: readonly RuleResult[]): string {
  const { held, broken, unsafe, skipped, mountedOnly } = countsOf(results);
  const harm = unsafe > 0 ? ` (${unsafe} of them unsafe)` : "";
  const summary = `${held} held, ${broken} broken${harm}, ${skipped} skipped.`;
  if (mountedOnly === 0) return summary;
  const more = mountedOnly === 1 ? "1 more needs" : `${mountedOnly} more need`;
  return `${summary} ${more} a route that is mounted in your tests (httpSuite).`;
}

/** A section's title and its results. */
export type SectionResults = readonly [title: string, results: readonly RuleResult[]];

/** The results by section, in the order of the rules. */
export function sectionsOf(results: readonly RuleResult[]): readonly SectionResults[] {
  return [...Map.groupBy(results, ({ section }) => section)];
}
