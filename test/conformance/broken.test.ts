/** Deliberately broken servers: a suite that none of them fails would prove nothing. */
import { describe, expect, it } from "vitest";
import { rulesOf, verifyRules } from "../../src/conformance/http/verify.ts";
import type { RuleResult } from "../../src/conformance/suites.ts";
import { faults } from "../support/broken/faults.ts";
import { serveHandWritten } from "../support/broken/hand-written.ts";
import type { Parts } from "../support/broken/hand-written.ts";

async function resultsOf(
  parts: Partial<Parts>,
  only?: readonly string[],
): Promise<readonly RuleResult[]> {
  const { subject, close } = await serveHandWritten(parts);
  try {
    return await verifyRules(subject, rulesOf(only));
  } finally {
    close();
  }
}

describe("a layer written by hand", () => {
  it("holds every rule that a URL shows, when it is sound", async () => {
    const results = await resultsOf({});
    const outcomes = Map.groupBy(results, ({ outcome }) => outcome);
    expect(outcomes.get("broken") ?? []).toEqual([]);
    expect(outcomes.get("held")?.length).toBeGreaterThan(65);
    // The rest needs options, or a route that requires keys: nothing else may be missing.
    const reasons = outcomes.get("skipped")?.map(({ reason }) => String(reason)) ?? [];
    const needs = /^It needs |^The route (?:requires no key|is lenient|refuses duplicates at once)/;
    expect(reasons.filter((reason) => !needs.test(reason))).toEqual([]);
  });

  it.concurrent.each(Object.entries(faults))(
    "that %s breaks its rule",
    async (_name, { rule, unsafe, parts }) => {
      const [result] = await resultsOf(parts, [rule]);
      expect(result).toMatchObject({ rule, outcome: "broken" });
      expect([result?.unsafe ?? false, result?.reason]).toEqual([unsafe ?? false, result?.reason]);
    },
  );
});
