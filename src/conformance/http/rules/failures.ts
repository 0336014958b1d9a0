/** Section 6: handlers that fail, and clients that go away. */
import { setTimeout as delay } from "node:timers/promises";
import {
  brief,
  check,
  checkBytes,
  checkProblem,
  checkReplay,
  checkSafe,
  checkStatus,
  headerOf,
  isReplay,
} from "../checks.ts";
import { requestBytes } from "../wire/connection.ts";
import { eventually } from "../patience.ts";
import type { Intent, Tell } from "../route.ts";
import { checkRetry } from "../retry.ts";
import type { Section, Trial } from "../rule.ts";

/** Checks that a failure reaches the client, and that its retry executes again. */
async function checkReleased(one: Intent, status: number): Promise<void> {
  const first = await one.send();
  checkStatus(first, status, "The first request");
  check(!isReplay(first), "The first answer is marked as a replay.");
  await checkRunsAgain(one, `a ${status}`);
}

async function checkRunsAgain(one: Intent, what: string): Promise<void> {
  const retry = await one.send({
    tell: { fail: undefined, status: 201, body: "done at last" },
  });
  check(!isReplay(retry), `The retry after ${what} got ${brief(retry)}; it should have run.`);
  checkStatus(retry, 201, `The retry after ${what}`);
  await one.ran(2);
  await checkRetry(one, retry, { runs: 2, who: "The next retry" });
}

/** Retries until the answer is no longer 409, and checks it against what was told. */
async function checkOutcome(one: Intent, { status = 200, body = "" }: Tell): Promise<void> {
  const retry = await eventually(async () => {
    const answer = await one.send();
    return answer.status === 409 ? undefined : answer;
  }, "The key stayed locked: retries still get 409 after 8 s.");
  checkStatus(retry, status, "The retry");
  check(retry.body.toString() === body, "The retry did not get the handler's answer.");
}

export const failures: Section = {
  title: "Failures of the handler",
  rules: [
    {
      kind: "http",
      rule: "B-68",
      title: "a handler that throws frees its key",
      needs: ["throws"],
      test: async ({ intent }) => {
        const one = intent({ fail: "throw" });
        const first = await one.send();
        check(first.status >= 500 || first.status === 0, `A throw was told as ${brief(first)}.`);
        await one.ran(1);
        await checkRunsAgain(one, "a throw");
      },
    },
    {
      kind: "http",
      rule: "B-69",
      title: "5xx is delivered once and not recorded: the retry runs",
      test: async ({ intent }) => {
        for (const status of [500, 502, 503, 504]) {
          await checkReleased(intent({ status, body: "failed" }), status);
        }
      },
    },
    {
      kind: "http",
      rule: "B-70",
      title: "5xx is recorded where the route says so",
      mounted: {
        needs: 'a route mounted with { record: "all" }',
        test: async ({ mount }) => {
          const one = (await mount({ options: { record: "all" } })).intent({ status: 500 });
          const first = await one.send();
          checkStatus(first, 500, "The first request");
          await checkRetry(one, first);
        },
      },
    },
    {
      kind: "http",
      rule: "B-71",
      title: "refusals of the handler (402, 404, 409, 422) are outcomes: recorded and replayed",
      test: async ({ intent }) => {
        for (const status of [400, 402, 404, 409, 410, 422]) {
          const one = intent({ status, body: `refused with ${status}` });
          const first = await one.send();
          checkStatus(first, status, "The first request");
          await checkRetry(one, first);
        }
      },
    },
    {
      kind: "http",
      rule: "B-72",
      title: "401, 403, 408, 421, 423, 425 and 429 are not recorded",
      test: async ({ intent }) => {
        for (const status of [401, 403, 408, 421, 423, 425, 429]) {
          await checkReleased(intent({ status, body: "not now" }), status);
        }
      },
    },
    {
      kind: "http",
      rule: "B-73",
      title: "the handler's own Retry-After is passed on",
      test: async ({ intent }) => {
        for (const status of [503, 429]) {
          const first = await intent({ status, headers: [["Retry-After", "77"]] }).send();
          const value = headerOf(first, "retry-after");
          check(value === "77", `The Retry-After of a ${status} is ${value ?? "gone"}; it was 77.`);
        }
      },
    },
    {
      kind: "http",
      rule: "B-74",
      title: "the handler may overrule what is recorded",
      mounted: {
        needs: "a handler that says record() or skip()",
        test: async ({ intent }) => {
          const recorded = intent({ status: 503, say: ["record"], body: "kept" });
          const first = await recorded.send();
          checkStatus(first, 503, "The first request");
          await checkRetry(recorded, first);
          const skipped = intent({ status: 200, say: ["skip"] });
          for (const who of ["The first request", "The retry"]) {
            const answer = await skipped.send();
            checkStatus(answer, 200, who);
            check(!isReplay(answer), `${who} was replayed, though the handler said skip().`);
          }
          await skipped.ran(2);
        },
      },
    },
    {
      kind: "http",
      rule: "B-75",
      title: "after commit() a failure leaves the outcome unknown: nothing runs again",
      mounted: {
        needs: "a handler that says commit()",
        test: async ({ intent }) => {
          const unknown = { status: 409, code: "outcome-unknown" };
          const tells: readonly Tell[] = [
            { status: 500 },
            { fail: "throw" },
            { fail: "cut", body: "half", holdMs: 20 },
          ];
          for (const tell of tells) {
            const one = intent({ ...tell, say: ["commit"] });
            await one.send();
            const retry = await eventually(async () => {
              const answer = await one.send();
              return headerOf(answer, "retry-after") === undefined ? answer : undefined;
            }, "The retry of what was committed is told to retry.");
            await one.ran(1);
            checkProblem(retry, unknown, "The retry of what was committed and failed");
          }
        },
      },
    },
    {
      kind: "http",
      rule: "B-76",
      title: "a client that leaves changes nothing: the outcome is recorded",
      needs: ["holds"],
      test: async (trial) => {
        await checkLeaving(trial, { status: 201, body: "for nobody, at first" }, "leaves");
        await checkLeaving(trial, { status: 201, body: "for nobody, at first" }, "half-closes");
        if (trial.facts.lacks.streams !== undefined) return;
        await checkLeaving(trial, { body: "in two ", tail: "parts" }, "leaves");
      },
    },
    {
      kind: "http",
      rule: "B-77",
      title: "a client that leaves before the handler starts leaves no lock behind",
      test: async ({ intent, route, subject }) => {
        for (const share of [0.5, 1]) {
          const one = intent(
            { body: "for the retry" },
            { body: JSON.stringify("x".repeat(20_000)) },
          );
          const bytes = requestBytes(route.url, one.request());
          const connection = await route.connect();
          connection.write(bytes.subarray(0, Math.floor(bytes.length * share)));
          // Long enough for the bytes to leave; when they are read is what the rule leaves open.
          await delay(5);
          connection.close();
          await checkOutcome(one, { body: "for the retry" });
          // A handler that is cancelled with its client may free the key, and then the retry runs.
          if (subject.mountable) await one.ran(1);
        }
      },
    },
    {
      kind: "http",
      rule: "B-78",
      title: "however the handler ends its answer, the key is completed or freed",
      mounted: {
        needs: "a handler that answers in each of its framework's ways",
        test: async ({ intent, subject, skip }) => {
          const { ways = [] } = subject;
          if (ways.length === 0) skip("It names no ways to answer.");
          for (const via of ways) {
            const one = intent({ via, status: 201, body: '"in its way"' });
            const first = await one.send();
            const isKept = first.status >= 200 && first.status < 500;
            const retry = await one.send();
            const what = `The retry of an answer by ${via}`;
            await one.ran(isKept ? 1 : 2);
            if (isKept) checkReplay(retry, first, what);
            else check(retry.status === first.status && !isReplay(retry), `${what} did not run.`);
          }
        },
      },
    },
    {
      kind: "http",
      rule: "B-79",
      title: "a timeout's 504 is not the outcome: the key stays with its handler",
      mounted: {
        needs: "a timeout in front of the route",
        test: async ({ intent, facts, skip }) => {
          if (facts.lacks.timeouts !== undefined) skip(facts.lacks.timeouts);
          const one = intent({ status: 201, body: "late" });
          const running = await one.start(10_000, { headers: [["X-Timeout-Ms", "60"]] });
          const timeout = await running.arriving.whole;
          checkStatus(timeout, 504, "The client of a handler that is too slow");
          checkStatus(await one.send(), 409, "A retry while the handler still works");
          await running.finish();
          await checkOutcome(one, { status: 201, body: "late" });
          await one.ran(1);
        },
      },
    },
    {
      kind: "http",
      rule: "B-80",
      title: "a recorded failure keeps its status and body",
      mounted: {
        needs: 'a route mounted with { record: "all" }',
        test: async ({ mount }) => {
          const { intent } = await mount({ options: { record: "all" } });
          for (const status of [503, 504]) {
            const one = intent({ status, body: `failed with ${status}` });
            const first = await one.send();
            const retry = await one.send();
            checkStatus(retry, status, "The retry");
            checkBytes(retry, first);
            await one.ran(1);
          }
        },
      },
    },
  ],
};

/** Leaves while the handler runs; then retries must get what it answered to nobody. */
async function checkLeaving(
  { intent, whileRunning }: Trial,
  tell: Tell,
  how: "leaves" | "half-closes",
): Promise<void> {
  const { intent: one } = await whileRunning(
    () => intent(tell),
    async (_intent, { connection, arriving }) => {
      if (tell.tail !== undefined) await arriving.atLeast(1);
      if (how === "leaves") connection.close();
      else connection.endSending();
    },
  );
  const body = `${String(tell.body)}${String(tell.tail ?? "")}`;
  await checkOutcome(one, { ...tell, body });
  await one.ran(1);
  checkSafe(isReplay(await one.send()), "The retry after a client had left was no replay.");
}
