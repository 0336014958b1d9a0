/**
 * Runs rules against a subject, one after the other, each on a route of its own and within a
 * deadline. What a rule demands is in `rules/`; how results are shown is the caller's matter.
 */
import type { EngineEventKind } from "../../engine/events.ts";
import { RuleBroken, RuleSkipped } from "./checks.ts";
import { holdMs as longestHoldMs } from "./patience.ts";
import { probe } from "./probe.ts";
import type { Facts } from "./probe.ts";
import { routeAt } from "./route.ts";
import type { Intent, Route } from "./route.ts";
import type { HttpRule, MountedRoute, Rule, RuleResult, RuleTest, Section, Trial } from "./rule.ts";
import { sections } from "./rules/all-rules.ts";
import type { HttpSubject, Served, Setup } from "./subject.ts";

/** How long one rule may take, in ms. */
const longestRuleMs = 60_000;

/** A rule in its section. */
export interface Placed {
  readonly section: Section;
  readonly rule: Rule;
}

/** Every rule in order, or those whose numbers are given. */
export function rulesOf(only?: readonly string[]): readonly Placed[] {
  const all = sections.flatMap((section) => section.rules.map((rule) => ({ section, rule })));
  return only === undefined ? all : all.filter(({ rule }) => only.includes(rule.rule));
}

const known = new WeakMap<HttpSubject, Promise<Facts>>();

/** What is known of a subject's test route; looked at once. Rejects with `NotATestRoute`. */
export function factsOf(subject: HttpSubject): Promise<Facts> {
  const facts = known.get(subject) ?? look(subject);
  known.set(subject, facts);
  return facts;
}

async function look(subject: HttpSubject): Promise<Facts> {
  const served = await subject.serve({});
  try {
    return await probe(subject, served.url);
  } finally {
    await served.close();
  }
}

export interface VerifyOptions {
  /** Told of each rule before it is tried. */
  readonly onRule?: (placed: Placed, index: number) => void;
  /** How long all rules together may take, in ms; what is left then is skipped. */
  readonly withinMs?: number;
}

/** Tests rules one after the other. Rejects with `NotATestRoute` where there is nothing to test. */
export async function verifyRules(
  subject: HttpSubject,
  rules: readonly Placed[],
  { onRule, withinMs = Infinity }: VerifyOptions = {},
): Promise<readonly RuleResult[]> {
  const deadline = performance.now() + withinMs;
  await factsOf(subject);
  const results: RuleResult[] = [];
  for (const [index, placed] of rules.entries()) {
    const isLate = performance.now() >= deadline;
    if (!isLate) onRule?.(placed, index);
    results.push(isLate ? untried(placed) : await verifyRule(subject, placed));
  }
  return results;
}

function untried({ section, rule }: Placed): RuleResult {
  const reason = "The time for all rules was over.";
  const { rule: number, title } = rule;
  const said = { outcome: "skipped", reason, untried: true, durationMs: 0 } as const;
  return { rule: number, section: section.title, title, ...said };
}

/** Tests one rule. Never rejects for what a server does; rejects with `NotATestRoute`. */
export async function verifyRule(
  subject: HttpSubject,
  { section, rule }: Placed,
): Promise<RuleResult> {
  const { rule: number, title } = rule;
  const startedAtMs = performance.now();
  const said = await (rule.kind === "elsewhere"
    ? { outcome: "elsewhere" as const, reason: rule.why, heldBy: rule.heldBy }
    : tryRule(subject, rule));
  const durationMs = Math.round(performance.now() - startedAtMs);
  return { rule: number, section: section.title, title, durationMs, ...said };
}

type Said = Omit<RuleResult, "rule" | "section" | "title" | "durationMs" | "untried">;

async function tryRule(subject: HttpSubject, rule: HttpRule): Promise<Said> {
  const facts = await factsOf(subject);
  const missing = rule.needs?.find((feature) => facts.lacks[feature] !== undefined);
  if (missing !== undefined) return { outcome: "skipped", reason: String(facts.lacks[missing]) };
  const mounted = subject.mountable ? rule.mounted?.test : undefined;
  const tests = [rule.test, mounted].filter((test) => test !== undefined);
  if (tests.length === 0) {
    return { outcome: "skipped", reason: `It needs ${rule.mounted?.needs}.`, mountedOnly: true };
  }
  try {
    for (const test of tests) await within(longestRuleMs, runTest(subject, facts, test));
    return { outcome: "held" };
  } catch (error) {
    return saidOf(error);
  }
}

function saidOf(error: unknown): Said {
  const reason = error instanceof Error ? error.message : String(error);
  if (error instanceof RuleSkipped) return { outcome: "skipped", reason };
  if (error instanceof RuleBroken && error.unsafe) {
    return { outcome: "broken", reason, unsafe: true };
  }
  return { outcome: "broken", reason };
}

async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new RuleBroken(`The rule's test did not end within ${limitMs} ms.`));
  }, limitMs);
  return Promise.race([work, late.promise]).finally(() => clearTimeout(timer));
}

async function runTest(subject: HttpSubject, facts: Facts, test: RuleTest): Promise<void> {
  const opened: Served[] = [];
  const { callers, timeoutMs = 15_000 } = subject;
  function open(served: Served, quoted: boolean): Route {
    opened.push(served);
    return routeAt(served.url, { callers, timeoutMs, quoted });
  }
  async function mount(setup: Setup, serve = subject.serve): Promise<MountedRoute> {
    const events: EngineEventKind[] = [];
    const onEvent: NonNullable<Setup["engine"]>["onEvent"] = (event) => {
      events.push(event.kind);
      setup.engine?.onEvent?.(event);
    };
    const served = await serve({ ...setup, engine: { ...setup.engine, onEvent } });
    const route = open(served, false);
    const { clock, beside } = served;
    if (clock === undefined || beside === undefined) {
      throw new TypeError("A mounted route needs the clock of its store, and a second server.");
    }
    return { ...route, clock, events, beside: () => mount(setup, beside) };
  }
  try {
    const route = open(await subject.serve({}), facts.strict);
    await test({ subject, facts, route, mount, ...toolsFor(route, facts) });
  } finally {
    await Promise.all(opened.map((served) => served.close()));
  }
}

function toolsFor(route: Route, facts: Facts): Pick<Trial, "intent" | "whileRunning" | "skip"> {
  return {
    intent: route.intent,
    skip: (reason) => {
      throw new RuleSkipped(reason);
    },
    whileRunning: async (made, during) => {
      // A handler that cannot be released takes its whole time, so it is given little at first.
      const holdsMs = facts.releases ? [longestHoldMs] : [1000, 3000, 9000];
      for (const [index, holdMs] of holdsMs.entries()) {
        const intent: Intent = typeof made === "function" ? made() : made;
        const running = await intent.start(holdMs);
        const isLast = index === holdsMs.length - 1 || typeof made !== "function";
        try {
          await during(intent, running);
        } catch (error) {
          const wasOver = running.isOver();
          await running.finish();
          if (isLast || !wasOver) throw error;
          continue;
        }
        return { intent, answer: await running.finish() };
      }
      throw new RuleSkipped("The handler was always done before anything could be seen.");
    },
  };
}
