/** Section 11: what operators and clients are told. */
import type { EngineEventKind } from "../../../engine/events.ts";
import { brief, check, checkStatus, headerOf, isReplay, problemOf } from "../checks.ts";
import { eventually, whileHeld } from "../patience.ts";
import { checkRetry } from "../retry.ts";
import type { MountedRoute, Section, Trial } from "../rule.ts";
import type { Setup } from "../subject.ts";
import { isDown, watchedStore } from "../watched-store.ts";
import { refusals } from "./replay.ts";

const codes = new Set([
  "key-missing",
  "key-invalid",
  "in-progress",
  "outcome-unknown",
  "result-omitted",
  "key-reused",
  "request-too-large",
  "store-unavailable",
]);

export const contract: Section = {
  title: "Observability and contract",
  rules: [
    {
      kind: "http",
      rule: "B-113",
      title: "every outcome is told by one event",
      mounted: {
        needs: "an engine whose events can be heard",
        test: async (trial) => {
          for (const [what, play] of Object.entries(plays)) {
            const { setup = {}, run, told } = play;
            const route = await trial.mount(setup);
            await run(route);
            const isTold = (): boolean => route.events.length >= told.length;
            await eventually(isTold, `Too few events of ${what}: ${route.events.join(", ")}.`);
            check(
              route.events.join() === told.join(),
              `The events of ${what}: ${route.events.join(", ")}; expected ${told.join(", ")}.`,
            );
          }
        },
      },
    },
    {
      kind: "http",
      rule: "B-114",
      title: "a listener that throws changes no answer",
      mounted: {
        needs: "an engine whose events can be heard",
        test: async ({ mount }) => {
          const onEvent = (): never => {
            throw new Error("The rule made the listener throw.");
          };
          const one = (await mount({ engine: { onEvent } })).intent({ body: "as ever" });
          const first = await one.send();
          checkStatus(first, 200, "The first request");
          await checkRetry(one, first);
        },
      },
    },
    {
      kind: "http",
      rule: "B-115",
      title: "first answer and replay tell when the key expires, where the route says so",
      mounted: {
        needs: "a route mounted with { expiryHeaders: true }",
        test: async ({ mount }) => {
          const options = { expiryHeaders: true, retention: "1h" };
          const route = await mount({ options });
          const one = route.intent();
          for (const ttl of [3600, 3000]) {
            const answer = await one.send();
            const left = headerOf(answer, "idempotency-ttl");
            check(
              left === String(ttl),
              `Idempotency-TTL is ${left ?? "missing"}; expected ${ttl}.`,
            );
            const expires = Date.parse(headerOf(answer, "idempotency-expires") ?? "");
            check(!Number.isNaN(expires), "Idempotency-Expires is no date.");
            await route.clock.advance(600_000);
          }
        },
      },
    },
    {
      kind: "http",
      rule: "B-116",
      title: "X-Should-Retry tells SDKs which refusals are worth a retry",
      test: async (trial) => {
        for (const answer of await refusals(trial)) {
          const expected = String(answer.status === 409);
          const value = headerOf(answer, "x-should-retry") ?? "missing";
          check(value === expected, `X-Should-Retry of ${brief(answer)} is ${value}.`);
        }
      },
      mounted: {
        needs: 'routes mounted with { record: "all" } and { compat: "stripe" }',
        test: async (trial) => {
          const all = (await trial.mount({ options: { record: "all" } })).intent({ status: 503 });
          await all.send();
          const failure = headerOf(await all.send(), "x-should-retry");
          check(failure === "false", "A recorded 503 does not say X-Should-Retry: false.");
          await checkStripe(trial);
        },
      },
    },
    {
      kind: "http",
      rule: "B-117",
      title: "refusals are problem documents with a type and a known code",
      test: async (trial) => {
        for (const answer of await refusals(trial)) {
          const problem = problemOf(answer);
          const code = String(problem?.["code"]);
          check(codes.has(code), `A ${answer.status} has the code ${code}, which is not known.`);
          const isUrl = URL.canParse(String(problem?.["type"]));
          check(isUrl, `The type of ${brief(answer)} is no address.`);
          check(problem?.["status"] === answer.status, `${brief(answer)} tells another status.`);
        }
      },
    },
  ],
};

interface Play {
  readonly setup?: Setup;
  readonly run: (route: MountedRoute) => Promise<unknown>;
  readonly told: readonly EngineEventKind[];
}

const downAtClaim = watchedStore();
downAtClaim.fail("claim", isDown);
const waiting: Setup = { options: { onConflict: { wait: "10s" } } };

/** One scene for each outcome, and the events that tell of it. */
const plays: Readonly<Record<string, Play>> = {
  "an execution and a replay": {
    run: async (route) => sendTwice(route),
    told: ["executed", "replayed"],
  },
  "a failure": { run: (route) => route.intent({ status: 503 }).send(), told: ["released"] },
  "a conflict": {
    run: (route) => {
      const one = route.intent();
      return whileHeld(one, async () => void (await one.send()));
    },
    told: ["conflict", "executed"],
  },
  "a mismatch": {
    run: async (route) => {
      const one = route.intent();
      await one.send();
      await one.send({ body: "another" });
    },
    told: ["executed", "mismatch"],
  },
  "a missing key": {
    setup: { options: { required: true } },
    run: (route) => route.intent({}, { keys: [] }).send(),
    told: ["key-missing"],
  },
  "an invalid key": {
    run: (route) => route.intent({}, { keys: ["a,b"] }).send(),
    told: ["key-invalid"],
  },
  "a request without a key": {
    run: (route) => route.intent({}, { keys: [] }).send(),
    told: ["bypassed"],
  },
  "a bypass while the store is down": {
    setup: {
      options: { onStoreError: "open" },
      engine: { storeTimeout: "50ms" },
      store: downAtClaim.watch,
    },
    run: (route) => route.intent().send(),
    told: ["store-unavailable", "bypassed"],
  },
  "a waiting duplicate": {
    setup: waiting,
    run: async (route) => {
      const one = route.intent();
      const duplicates: Promise<unknown>[] = [];
      await whileHeld(one, async () => {
        duplicates.push(one.send());
        await eventually(() => route.events.includes("waited"), "The duplicate does not wait.");
      });
      await Promise.all(duplicates);
    },
    told: ["waited", "executed", "replayed"],
  },
  "a takeover": {
    run: async (route) => {
      const second = await route.beside();
      const one = route.intent();
      await whileHeld(one, async () => {
        await route.clock.advance(30_000);
        await one.at(second).send({ tell: { id: `${one.id}-2` } });
      });
      const told = second.events.join(", ");
      check(told === "takeover, executed", `The events of a takeover: ${told}.`);
    },
    told: ["lease-lost"],
  },
  "a committed failure": {
    run: async (route) => sendTwice(route, { status: 500, say: ["commit"] }),
    told: ["in-doubt", "in-doubt"],
  },
};

async function sendTwice(
  route: MountedRoute,
  tell: Parameters<MountedRoute["intent"]>[0] = {},
): Promise<void> {
  const one = route.intent(tell);
  await one.send();
  await one.send();
}

/** `compat: "stripe"`: the envelope, statuses and marks that Stripe's SDKs know. */
async function checkStripe({ mount }: Trial): Promise<void> {
  const route = await mount({ options: { compat: "stripe" } });
  const one = route.intent({ status: 500, body: "failed" });
  const first = await whileHeld(one, async () => {
    const conflict = await one.send();
    checkStatus(conflict, 409, "A duplicate in Stripe's dialect");
    const { error } = JSON.parse(conflict.body.toString()) as { error?: Record<string, unknown> };
    check(error?.["code"] === "idempotency_key_in_use", "The envelope is not Stripe's.");
    check(headerOf(conflict, "stripe-should-retry") === "true", "Stripe's SDKs would not retry.");
  });
  const replay = await one.send();
  checkStatus(replay, 500, "The retry of a recorded 500 in Stripe's dialect");
  check(replay.body.equals(first.body) && isReplay(replay), "It is no marked replay.");
  check(headerOf(replay, "idempotent-replayed") === "true", "Stripe's mark is missing.");
  check(headerOf(replay, "stripe-should-retry") === "false", "Stripe's SDKs would retry it.");
  const other = await one.send({ body: "another" });
  checkStatus(other, 400, "Another body in Stripe's dialect");
  check(headerOf(other, "stripe-should-retry") === "false", "Stripe's SDKs would retry it.");
  await one.ran(1);
}
