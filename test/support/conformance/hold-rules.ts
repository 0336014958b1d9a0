/** The HTTP suite on one of our adapters: nothing may be skipped but what the subject declares. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { httpSuite } from "../../../src/conformance/suites.ts";
import type { HttpSubject, RuleResult } from "../../../src/conformance/suites.ts";
import { cellOf, parsePage } from "./page.ts";

const page = readFileSync(new URL("../../../docs/conformance.md", import.meta.url), "utf8");

/** Registers the suite, and the comparison with the adapter's column in docs/conformance.md. */
export function holdRules(subject: HttpSubject): void {
  describe(`the rules of HTTP on ${subject.name}`, () => {
    const results: RuleResult[] = [];
    httpSuite({
      it: it.concurrent,
      subject: () => subject,
      onResult: (result) => results.push(result),
    });

    it("skips nothing but what the subject cannot do", () => {
      const declared = Object.values(subject.lacks ?? {});
      const skipped = results.filter(({ outcome }) => outcome === "skipped");
      expect(skipped.filter(({ reason = "" }) => !declared.includes(reason))).toEqual([]);
    });

    it("finds its column in docs/conformance.md as it is", () => {
      const told = new Map(parsePage(page).map((row) => [row.rule, row.cells[subject.name]]));
      const held = results.filter(({ outcome }) => outcome !== "broken");
      expect(held.map(({ rule }) => [rule, told.get(rule)])).toEqual(
        held.map((result) => [result.rule, cellOf(result)]),
      );
    });
  });
}
