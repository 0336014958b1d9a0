/**
 * The nouns of the suite: a rule, what its test gets, and what came of it. The rules themselves are
 * in `rules/`, one file a section.
 */
import type { EngineEventKind } from "../../engine/events.ts";
import type { Clock } from "../histories.ts";
import type { WireAnswer } from "./wire/answer-reader.ts";
import type { Facts } from "./probe.ts";
import type { Ask, Intent, Route, Running, Tell } from "./route.ts";
import type { Feature, HttpSubject, Setup } from "./subject.ts";

/** A route mounted for one rule; it is closed when the rule's test ends. */
export interface MountedRoute extends Route {
  /** The clock of its store. */
  readonly clock: Clock;
  /** Kinds of the engine's events so far, in order. */
  readonly events: readonly EngineEventKind[];
  /** A second server on the same store, mounted in the same way. */
  readonly beside: () => Promise<MountedRoute>;
}

/** What the test of a rule gets. */
export interface Trial {
  readonly subject: HttpSubject;
  readonly facts: Facts;
  /** The route with its defaults. */
  readonly route: Route;
  /** A fresh intent on that route. */
  readonly intent: (tell?: Tell, ask?: Ask) => Intent;
  /** Mounts the route in another way. */
  readonly mount: (setup: Setup) => Promise<MountedRoute>;
  /**
   * Starts a fresh intent, runs `during` while its handler is at work, lets it end, and returns its
   * answer. Starts over with more time when the handler was done before `during` was.
   */
  readonly whileRunning: (
    made: Intent | (() => Intent),
    during: (intent: Intent, running: Running) => Promise<void>,
  ) => Promise<{ readonly intent: Intent; readonly answer: WireAnswer }>;
  /** Says that the rule cannot be seen here, and why. */
  readonly skip: (reason: string) => never;
}

export type RuleTest = (trial: Trial) => Promise<void>;

/** A rule that is seen over HTTP. At least one of its two tests is there. */
export interface HttpRule {
  readonly kind: "http";
  /** Its number, `"B-26"`. */
  readonly rule: string;
  readonly title: string;
  /** What the test route must be able to do. */
  readonly needs?: readonly Feature[];
  /** What any URL shows with its defaults. */
  readonly test?: RuleTest;
  /** What a route shows that is mounted for it. */
  readonly mounted?: { readonly needs: string; readonly test: RuleTest };
}

/** A rule that no HTTP client can see, and the test of this repository that holds it. */
export interface RuleElsewhere {
  readonly kind: "elsewhere";
  readonly rule: string;
  readonly title: string;
  readonly why: string;
  readonly heldBy: string;
}

export type Rule = HttpRule | RuleElsewhere;

export interface Section {
  readonly title: string;
  readonly rules: readonly Rule[];
}

/** What came of one rule. */
export interface RuleResult {
  readonly rule: string;
  readonly section: string;
  readonly title: string;
  readonly outcome: "held" | "broken" | "skipped" | "elsewhere";
  /** What is broken, why it was skipped, or why no client sees it. */
  readonly reason?: string;
  /** Only a route that is mounted for the rule shows it, not a mere URL. */
  readonly mountedOnly?: true;
  /** It was skipped because the time for all rules was over. */
  readonly untried?: true;
  /** The test of this repository that holds what no client sees. */
  readonly heldBy?: string;
  /** Whether what is broken can do work twice or hand an answer to somebody else. */
  readonly unsafe?: true;
  readonly durationMs: number;
}
