/** The door of `latchkey/conformance`: the suite for stores, and the suite for HTTP servers. */
export { storeSuite } from "./store-suite.ts";
export type { Clock, StoreSuiteOptions, StoreUnderTest } from "./store-suite.ts";
export { createTestRoute, httpSuite, urlSubject } from "./http-suite.ts";
export type {
  Callers,
  Cue,
  Feature,
  HttpSubject,
  HttpSuiteOptions,
  Pairs,
  Play,
  RuleResult,
  RunnerContext,
  Served,
  Setup,
  TestRoute,
} from "./http-suite.ts";
