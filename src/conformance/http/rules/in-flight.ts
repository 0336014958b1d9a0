/** Section 4: duplicates while the first is at work. */
import type { WireAnswer } from "../wire/answer-reader.ts";
import {
  brief,
  check,
  checkProblem,
  checkReplay,
  checkSafe,
  checkStatus,
  headerOf,
  isReplay,
} from "../checks.ts";
import { checkRetry } from "../retry.ts";
import type { MountedRoute, Section, Trial } from "../rule.ts";
import { eventually, whileHeld } from "../patience.ts";

const conflict = {
  status: 409,
  code: "in-progress",
  title: "A request is outstanding for this Idempotency-Key",
};

function refuseOnly({ facts, skip }: Trial): void {
  if (facts.waits) skip("The route holds duplicates until the first is done (see B-49).");
}

/** Whole seconds, at least one. */
function checkRetryAfter(answer: WireAnswer): number {
  const value = headerOf(answer, "retry-after");
  check(value !== undefined, `A ${answer.status} has no Retry-After.`);
  check(/^[1-9]\d*$/.test(value), `Retry-After is ${value}; expected whole seconds from 1.`);
  return Number(value);
}

export const inFlight: Section = {
  title: "In flight",
  rules: [
    {
      kind: "http",
      rule: "B-43",
      title: "a duplicate while the first runs gets 409 in-progress",
      needs: ["holds"],
      test: async (trial) => {
        refuseOnly(trial);
        const { intent } = await trial.whileRunning(
          () => trial.intent(),
          async (held) => {
            const duplicate = await held.send();
            await held.ran(1);
            checkProblem(duplicate, conflict, "A duplicate of a running request");
          },
        );
        await intent.ran(1);
      },
    },
    {
      kind: "http",
      rule: "B-44",
      title: "that 409 says when to retry, in whole seconds",
      needs: ["holds"],
      test: async (trial) => {
        refuseOnly(trial);
        await trial.whileRunning(
          () => trial.intent(),
          async (held) => {
            const duplicate = await held.send();
            await held.ran(1);
            checkStatus(duplicate, 409, "A duplicate of a running request");
            checkRetryAfter(duplicate);
          },
        );
      },
      mounted: {
        needs: "a route mounted with a known lease",
        test: async ({ mount }) => {
          const route = await mount({ engine: { lease: "30s" } });
          const second = await route.beside();
          const one = route.intent();
          await whileHeld(one, async () => {
            for (const server of [one, one.at(second)]) {
              const seconds = checkRetryAfter(await server.send());
              check(seconds < 30, "Retry-After is the whole lease, not the rest of the work.");
            }
          });
        },
      },
    },
    {
      kind: "http",
      rule: "B-45",
      title: "a refused duplicate is replayed once the first is done",
      needs: ["holds"],
      test: async (trial) => {
        refuseOnly(trial);
        const { intent, answer } = await trial.whileRunning(
          () => trial.intent({ body: "the outcome" }),
          async (held) => {
            const duplicate = await held.send();
            await held.ran(1);
            check(duplicate.status >= 400, `A duplicate got ${brief(duplicate)}.`);
          },
        );
        await checkRetry(intent, answer);
      },
    },
    {
      kind: "http",
      rule: "B-46",
      title: "of fifty requests at once one runs",
      test: async ({ intent }) => {
        const one = intent({ status: 201, body: "one of fifty", holdMs: 100 });
        const answers = await Promise.all(Array.from({ length: 50 }, () => one.send()));
        await one.ran(1);
        const originals = answers.filter((answer) => answer.status === 201 && !isReplay(answer));
        checkSafe(originals.length <= 1, `${originals.length} of 50 got an answer of their own.`);
        check(originals.length === 1, "None of 50 got the first answer.");
        for (const answer of answers) {
          check(answer.status === 201 || answer.status === 409, `One of 50 got ${brief(answer)}.`);
        }
      },
    },
    {
      kind: "http",
      rule: "B-47",
      title: "of fifty requests at once to two servers on one store one runs",
      mounted: {
        needs: "a second server on the same store",
        test: async ({ mount }) => {
          const route = await mount({});
          const second = await route.beside();
          const one = route.intent({ status: 201, body: "one of fifty", holdMs: 100 });
          const servers = [one, one.at(second)];
          const all = servers.flatMap((server) => Array.from({ length: 25 }, () => server.send()));
          const answers = await Promise.all(all);
          await one.ran(1);
          const statuses = new Set(answers.map((answer) => answer.status));
          check(statuses.has(201), "None of 50 got the first answer.");
          check(statuses.size <= 2, `They got ${[...statuses].join(", ")}.`);
          for (const server of servers) {
            const replay = await server.send();
            await one.ran(1);
            check(isReplay(replay), `A later retry got ${brief(replay)}.`);
          }
        },
      },
    },
    {
      kind: "http",
      rule: "B-48",
      title: "a duplicate that arrives as the first completes is no second execution",
      test: async ({ intent }) => {
        for (let round = 0; round < 12; round += 1) {
          const one = intent({ body: `round ${round}` });
          const all = Array.from({ length: 4 }, () => one.send());
          const answers = [...(await Promise.all(all)), await one.send(), await one.send()];
          await one.ran(1);
          for (const answer of answers.slice(-2)) {
            checkStatus(answer, 200, "A retry after the race");
          }
          for (const answer of answers) {
            check(answer.status === 200 || answer.status === 409, `A racer got ${brief(answer)}.`);
          }
        }
      },
    },
    {
      kind: "http",
      rule: "B-49",
      title: "where the route waits, a duplicate gets the result of the first",
      test: async ({ subject, facts, intent, skip, whileRunning }) => {
        if (subject.mountable) return;
        if (!facts.waits) skip("The route refuses duplicates at once (see B-43).");
        const waiting: Promise<WireAnswer>[] = [];
        const { answer, intent: one } = await whileRunning(
          () => intent({ body: "the outcome" }),
          async (held) => void waiting.push(held.send()),
        );
        await one.ran(1);
        for (const duplicate of waiting) checkReplay(await duplicate, answer, "The duplicate");
      },
      mounted: {
        needs: "a route mounted with { onConflict: { wait } }",
        test: async ({ mount }) => {
          const route = await mount({ options: { onConflict: { wait: "10s" } } });
          const one = route.intent({ body: "the outcome" });
          const waiting = Promise.withResolvers<WireAnswer>();
          const first = await whileHeld(one, async () => {
            waiting.resolve(one.send());
            await eventually(() => route.events.includes("waited"), "The duplicate does not wait.");
          });
          await one.ran(1);
          checkReplay(await waiting.promise, first, "The duplicate");
        },
      },
    },
    {
      kind: "http",
      rule: "B-50",
      title: "a waiter whose time is over gets 409, and the first goes on",
      mounted: {
        needs: "a route mounted with { onConflict: { wait } }",
        test: async ({ mount }) => {
          const route = await mount({ options: { onConflict: { wait: "60ms" } } });
          const one = route.intent();
          const first = await whileHeld(one, async () => {
            const refused = await one.send();
            checkProblem(refused, conflict, "A waiter whose time is over");
            checkRetryAfter(refused);
          });
          checkStatus(first, 200, "The first request");
          await checkRetry(one, first);
        },
      },
    },
    {
      kind: "http",
      rule: "B-51",
      title: "when the first fails or dies, one waiter runs and the others wait for it",
      mounted: {
        needs: "a route mounted with { onConflict: { wait } }",
        test: async ({ mount }) => {
          const route = await mount({ options: { onConflict: { wait: "10s" } } });
          await checkHeir(route, "fails");
          await checkHeir(route, "falls silent");
        },
      },
    },
    {
      kind: "http",
      rule: "B-52",
      title: "a waiter that goes away is let go at once",
      mounted: {
        needs: "a route mounted with { onConflict: { wait } }",
        test: async ({ mount }) => {
          const route = await mount({ options: { onConflict: { wait: "60s" } } });
          const one = route.intent();
          const first = await whileHeld(one, async () => {
            const connection = await route.connect();
            connection.send(one.request());
            await eventually(() => route.events.includes("waited"), "The duplicate does not wait.");
            connection.close();
            const isTold = (): boolean => route.events.includes("conflict");
            await eventually(isTold, "A waiter whose client has left is still waiting.");
          });
          checkStatus(first, 200, "The first request");
        },
      },
    },
    {
      kind: "http",
      rule: "B-53",
      title: "Prefer: wait shortens the waiting of a client",
      mounted: {
        needs: "a route mounted with { onConflict: { wait } }",
        test: async ({ mount }) => {
          const route = await mount({ options: { onConflict: { wait: "60s" } } });
          const one = route.intent();
          await whileHeld(one, async () => {
            const prefer = await one.send({ headers: [["Prefer", "respond-async, wait=0"]] });
            checkProblem(prefer, conflict, "A client that prefers not to wait");
          });
        },
      },
    },
    {
      kind: "http",
      rule: "B-54",
      title: "only so many may wait for one key",
      mounted: {
        needs: "a route mounted with { onConflict: { wait } }",
        test: async ({ mount }) => {
          const route = await mount({ options: { onConflict: { wait: "10s" } } });
          const one = route.intent({ body: "the outcome" });
          const crowd: Promise<WireAnswer>[] = [];
          await whileHeld(one, async () => {
            for (let index = 0; index < 60; index += 1) crowd.push(one.send());
            const isFull = (): boolean => countOf(route, "conflict") === 10;
            await eventually(isFull, "Of 60 waiters not exactly 10 were refused.");
          });
          const answers = await Promise.all(crowd);
          const replays = answers.filter((answer) => isReplay(answer));
          check(replays.length === 50, `${replays.length} of 50 waiters got the result.`);
          await one.ran(1);
        },
      },
    },
  ],
};

function countOf({ events }: MountedRoute, kind: string): number {
  return events.filter((one) => one === kind).length;
}

/** Three wait for a first that fails, or falls silent: one of them runs, and all get its answer. */
async function checkHeir(route: MountedRoute, end: "fails" | "falls silent"): Promise<void> {
  // An owner that is silent is known by the store alone, and so by another server.
  const at = end === "fails" ? route : await route.beside();
  const one = route.intent({ status: 503 });
  const heir = route.intent({ status: 201, body: "of the heir" });
  const before = countOf(at, "waited");
  const waiters: Promise<WireAnswer>[] = [];
  async function checkWaiters(): Promise<void> {
    const answers = await Promise.all(waiters);
    for (const answer of answers) checkStatus(answer, 201, "A waiter");
    const replays = answers.filter((answer) => isReplay(answer)).length;
    await heir.ran(1);
    check(replays === 2, `${replays} of 3 waiters got a replay; expected 2.`);
  }
  await whileHeld(one, async () => {
    const tell = { id: heir.id, status: 201, body: "of the heir" };
    for (let index = 0; index < 3; index += 1) waiters.push(one.at(at).send({ tell }));
    await eventually(() => countOf(at, "waited") === before + 3, "The duplicates do not wait.");
    if (end === "fails") return;
    await route.clock.advance(30_001);
    await checkWaiters();
  });
  if (end === "fails") await checkWaiters();
}
