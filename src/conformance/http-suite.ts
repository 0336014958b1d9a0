/**
 * The rules of HTTP as a suite for the test runner you have: one test a rule, each against a route
 * of its own on a real socket. The rules are in `http/rules/`; `latchkey verify` runs the same.
 */
import type { HttpSubject } from "./http/subject.ts";
import { rulesOf, verifyRule } from "./http/verify.ts";
import type { RuleResult } from "./http/rule.ts";

export type { Pairs } from "./http/instruction.ts";
export type { RuleResult } from "./http/rule.ts";
export type { Callers, Feature, HttpSubject, Served, Setup } from "./http/subject.ts";
export { urlSubject } from "./http/subject.ts";
export { createTestRoute } from "./http/test-route.ts";
export type { Cue, Play, TestRoute } from "./http/test-route.ts";

/** What a runner hands to its tests; vitest and node:test both have `skip`. */
export interface RunnerContext {
  readonly skip?: (reason?: string) => unknown;
}
export interface HttpSuiteOptions {
  /** Registers one test: vitest's, node:test's or mocha's `it`. */
  readonly it: (name: string, test: (context?: RunnerContext) => Promise<void>) => unknown;
  /** What is measured; asked at the start of each test. */
  readonly subject: () => HttpSubject;
  /** Only the rules with these numbers, e.g. `["B-26"]`. Default: all. */
  readonly only?: readonly string[];
  /** Told of every result, also of skipped rules. */
  readonly onResult?: (result: RuleResult) => void;
}

/**
 * Registers a test for each rule that can be seen over HTTP. A rule that cannot be seen on this
 * subject calls the runner's `skip` with the reason; where a runner has none it fails.
 */
export function httpSuite({ it, subject, only, onResult }: HttpSuiteOptions): void {
  for (const placed of rulesOf(only)) {
    const { rule } = placed;
    if (rule.kind === "elsewhere") continue;
    it(`${rule.title} (${rule.rule})`, async (context) => {
      const result = await verifyRule(subject(), placed);
      onResult?.(result);
      const { outcome, reason = "" } = result;
      if (outcome === "broken") throw new Error(reason);
      if (outcome !== "skipped") return;
      if (context?.skip === undefined) throw new Error(`Skipped: ${reason}`);
      context.skip(reason);
    });
  }
}
