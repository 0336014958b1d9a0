/**
 * Finds out what a test route can do, without a key, so that nothing the layer does is taken for
 * the handler's: a rule that needs what is missing is skipped with the reason. Also finds out how
 * the route is set up, where a default may differ.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { WireAnswer } from "./wire/answer-reader.ts";
import { valuesOf } from "./wire/answer-reader.ts";
import { brief, headerOf, RuleBroken } from "./checks.ts";
import { routeAt } from "./route.ts";
import type { Ask, Intent, Route, Tell } from "./route.ts";
import type { Feature, HttpSubject } from "./subject.ts";

/** What is known of a test route. */
export interface Facts {
  /** Why a feature is missing; absent when it is there. */
  readonly lacks: Partial<Readonly<Record<Feature, string>>>;
  /** The methods that reach the handler. */
  readonly methods: ReadonlySet<string>;
  /** Whether a held handler goes on when it is released; otherwise it takes its whole time. */
  readonly releases: boolean;
  /** Requests without a key are refused. */
  readonly required: boolean;
  /** Only quoted keys are taken. */
  readonly strict: boolean;
  /** Duplicates are held until the first is done. */
  readonly waits: boolean;
}

/** The URL cannot be measured; the message says why and what to do. */
export class NotATestRoute extends Error {
  override readonly name = "NotATestRoute";
}

const reasons: Readonly<Record<Feature, string>> = {
  bodiless: "The test route does not answer 204 when told to.",
  bytes: "The test route does not answer with every byte value when told to.",
  cors: "The test route sends no Access-Control-Allow-Origin to a request with an Origin.",
  cuts: 'The test route does not break its answer off when told to (fail: "cut").',
  echoes: "The test route does not answer with the request's body when told to (echo).",
  hints: "The test route sends no 103 when told to (hints).",
  holds: "The test route does not wait when told to (holdMs).",
  lines: "The test route does not send several lines of one header when told to.",
  repeats: "The test route does not repeat its body when told to (repeat).",
  streams: "The test route does not send its answer in two parts when told to (tail).",
  throws: 'The test route does not fail when told to (fail: "throw").',
  timeouts: "The test route has no timeout in front of it.",
  trailers: "The test route sends no trailers when told to.",
};

export const everyByte: Buffer = Buffer.from(Array.from({ length: 256 }, (_, index) => index));

/** Looks at a route; throws `NotATestRoute` when nothing about it could be measured. */
export async function probe(subject: HttpSubject, address: string): Promise<Facts> {
  const { callers, timeoutMs = 15_000, lacks: declared = {} } = subject;
  const route = routeAt(address, { callers, timeoutMs, quoted: false });
  const { method, methods } = await doorOf(route);
  const sound = (tell: Tell, ask: Ask = {}): Intent =>
    route.intent(tell, { method, keys: [], ...ask });
  const releases = await canRelease(sound);
  const found = await Promise.all(
    Object.entries(probes).map(async ([feature, look]) => [
      feature as Feature,
      await look({ sound, holdMs: releases ? 5000 : 600 }),
    ]),
  );
  const missing = found.filter(([, isThere]) => isThere === false).map(([feature]) => feature);
  const lacks = Object.fromEntries(
    missing.map((feature) => [feature, reasons[feature as Feature]]),
  );
  const facts = { lacks: { ...lacks, ...declared }, methods, releases };
  return { ...facts, ...(await setUpOf(route)), required: method !== "POST" };
}

const candidates = ["POST", "PUT", "PATCH", "GET", "HEAD", "OPTIONS", "DELETE"];

/** The methods that reach the handler without a key, and the one to probe with. */
async function doorOf(
  route: Route,
): Promise<{ readonly method: string; readonly methods: ReadonlySet<string> }> {
  const asked = await route.executions("nobody").catch((error: unknown) => {
    if (error instanceof RuleBroken) throw new NotATestRoute(notARoute(error.message));
    throw new NotATestRoute(`The server cannot be reached: ${reasonOf(error)}.`);
  });
  if (asked !== 0) throw new NotATestRoute(notARoute(`It gave ${asked}.`));
  const answers = new Map<string, WireAnswer>();
  const reached = await Promise.all(
    candidates.map(async (method) => {
      const intent = route.intent({ status: 201, body: "reached" }, { method, keys: [] });
      answers.set(method, await intent.send());
      return (await route.executions(intent.id)) === 1 ? [method] : [];
    }),
  );
  const methods = new Set(reached.flat());
  const method = ["POST", "PUT", "GET"].find((one) => isAsTold(answers.get(one)));
  if (method !== undefined) return { method, methods };
  const post = answers.get("POST");
  throw new NotATestRoute(
    `The handler did not answer as told: POST got ${post && brief(post)}. ` +
      "If it needs a credential, name one with --as.",
  );
}

function notARoute(said: string): string {
  const wanted = 'GET ?executions=nobody must answer {"executions":0}';
  return `This is no test route: ${wanted}. ${said} See docs/verify.md.`;
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}

function isAsTold(answer: WireAnswer | undefined): boolean {
  return answer?.status === 201 && answer.body.toString() === "reached";
}

interface Looking {
  readonly sound: (tell: Tell, ask?: Ask) => Intent;
  readonly holdMs: number;
}

async function canRelease(sound: Looking["sound"]): Promise<boolean> {
  const startedAtMs = performance.now();
  const running = await sound({}).start(3000);
  const answer = await running.finish();
  return answer.status === 200 && performance.now() - startedAtMs < 2500;
}

const probes: Readonly<Record<Exclude<Feature, "timeouts">, (at: Looking) => Promise<boolean>>> = {
  holds: async ({ sound }) => {
    const startedAtMs = performance.now();
    const { status } = await sound({ holdMs: 250 }).send();
    return status === 200 && performance.now() - startedAtMs >= 200;
  },
  streams: async ({ sound, holdMs }) => {
    const running = await sound({ body: "the first part", tail: "the second" }).start(holdMs);
    await running.arriving.atLeast(1);
    const isEarly = !running.isOver();
    const { body } = await running.finish();
    return isEarly && body.toString() === "the first partthe second";
  },
  throws: async ({ sound }) => {
    const { status } = await sound({ fail: "throw" }).send();
    return status >= 500 || status === 0;
  },
  cuts: async ({ sound }) => {
    const { status, cut } = await sound({ body: "the first", holdMs: 20, fail: "cut" }).send();
    return status === 200 && cut !== undefined;
  },
  echoes: async ({ sound }) => {
    const { body } = await sound({ echo: true }, { body: everyByte }).send();
    return body.equals(everyByte);
  },
  bytes: async ({ sound }) => {
    const { body } = await sound({ body: everyByte }).send();
    return body.equals(everyByte);
  },
  repeats: async ({ sound }) => {
    const { body } = await sound({ body: "ab", repeat: 3 }).send();
    return body.toString() === "ababab";
  },
  lines: async ({ sound }) => {
    const answer = await sound({
      headers: [
        ["Link", "<a>"],
        ["Link", "<b>"],
      ],
    }).send();
    return headerOf(answer, "link") === "<a>, <b>";
  },
  bodiless: async ({ sound }) => (await sound({ status: 204 }).send()).status === 204,
  hints: async ({ sound }) => {
    const { interim } = await sound({ hints: "<a>; rel=preload" }).send();
    return interim.some(({ status }) => status === 103);
  },
  trailers: async ({ sound }) => {
    const told: Tell = { body: "a", tail: "b", trailers: [["X-Sum", "1"]] };
    const { trailers } = await sound(told).send();
    return valuesOf(trailers, "x-sum").length === 1;
  },
  cors: async ({ sound }) => {
    const answer = await sound({}, { headers: [["Origin", "https://a.example"]] }).send();
    return headerOf(answer, "access-control-allow-origin") !== undefined;
  },
};

/** How the route takes keys and duplicates; a route that takes no key shows it in its rules. */
async function setUpOf(route: Route): Promise<Pick<Facts, "strict" | "waits">> {
  const bare = await route.intent().send();
  const quoted = (intent: Intent): readonly string[] => [`"${intent.key}"`];
  const other = route.intent();
  const isStrict =
    bare.status === 400 && (await other.send({ keys: quoted(other) })).status === 200;
  const intent = route.intent();
  const keys = isStrict ? quoted(intent) : [intent.key];
  const running = await intent.start(1000, { keys });
  const duplicate = intent.send({ keys });
  const first = await Promise.race([duplicate, delay(500, "late" as const)]);
  const waits = first === "late" && !running.isOver();
  await running.finish();
  await duplicate;
  return { strict: isStrict, waits };
}
