/** Section 8: a store that is down, slow, or cannot be read. */
import { LatchkeyError } from "../../../errors.ts";
import { check, checkProblem, checkReplay, checkStatus, headerOf } from "../checks.ts";
import { eventually } from "../patience.ts";
import type { Section } from "../rule.ts";
import { isDown, watchedStore } from "../watched-store.ts";

const needs = "a store that can be made to fail";
const unavailable = { status: 503, code: "store-unavailable" };
const engine = { storeTimeout: "50ms" };

export const storeFailures: Section = {
  title: "Store failure",
  rules: [
    {
      kind: "http",
      rule: "B-92",
      title: "a store that is down closes the route for keys: 503, nothing runs",
      mounted: {
        needs,
        test: async ({ mount }) => {
          const { watch, fail } = watchedStore();
          const one = (await mount({ store: watch, engine })).intent();
          fail("claim", isDown);
          const refused = await one.send();
          checkProblem(refused, unavailable, "A request while the store is down");
          check(headerOf(refused, "retry-after") !== undefined, "The 503 has no Retry-After.");
          await one.ran(0);
          fail("claim", undefined);
          checkStatus(await one.send(), 200, "A retry when the store is back");
          await one.ran(1);
        },
      },
    },
    {
      kind: "http",
      rule: "B-93",
      title: "without a key the handler runs, though the store is down",
      mounted: {
        needs,
        test: async ({ mount }) => {
          const { watch, fail } = watchedStore();
          const one = (await mount({ store: watch, engine })).intent({}, { keys: [] });
          fail("claim", isDown);
          checkStatus(await one.send(), 200, "A request without a key");
          await one.ran(1);
        },
      },
    },
    {
      kind: "http",
      rule: "B-94",
      title: "an open route runs unprotected while the store is down, and says so",
      mounted: {
        needs: 'a route mounted with { onStoreError: "open" }',
        test: async ({ mount }) => {
          const { watch, fail } = watchedStore();
          const options = { onStoreError: "open" } as const;
          const route = await mount({ store: watch, engine, options });
          const one = route.intent({ status: 201, body: "unprotected" });
          fail("claim", isDown);
          const answer = await one.send();
          checkStatus(answer, 201, "A request on an open route");
          check(headerOf(answer, "idempotency-status") === "bypassed", "It is not marked.");
          check(route.events.includes("bypassed"), "No event tells of it.");
          await one.ran(1);
        },
      },
    },
    {
      kind: "http",
      rule: "B-95",
      title: "a store that fails to record costs the client nothing, and is told again",
      mounted: {
        needs,
        test: async ({ mount }) => {
          const { watch, fail } = watchedStore();
          const route = await mount({ store: watch, engine });
          const one = route.intent({ status: 201, body: "paid" });
          fail("complete", isDown);
          const first = await one.send();
          checkStatus(first, 201, "The client of an execution that cannot be recorded");
          check(first.body.toString() === "paid", "Its client did not get the handler's answer.");
          check(route.events.includes("complete-failed"), "No event tells of it.");
          checkStatus(await one.send(), 409, "A retry before it is recorded");
          fail("complete", undefined);
          const retry = await eventually(async () => {
            const answer = await one.send();
            return answer.status === 409 ? undefined : answer;
          }, "It is not recorded when the store is back.");
          await one.ran(1);
          checkReplay(retry, first);
        },
      },
    },
    {
      kind: "http",
      rule: "B-96",
      title: "a claim whose reply was lost is recognised as one's own",
      mounted: {
        needs,
        test: async ({ mount }) => {
          const { watch, fail } = watchedStore();
          const { intent } = await mount({ store: watch, engine });
          const lost = intent();
          fail("claim", async (call) => {
            fail("claim", undefined);
            await call();
            throw new Error("The rule lost the reply.");
          });
          checkStatus(await lost.send(), 200, "A request whose claim's reply was lost");
          await lost.ran(1);
          const late = intent();
          fail("claim", async (call) => {
            fail("claim", undefined);
            await call();
            return new Promise(() => undefined);
          });
          const answer = await late.send();
          // Whether there is time left to ask again, only the server knows.
          if (answer.status !== 200) checkProblem(answer, unavailable, "A claim without a reply");
          const retry = await eventually(async () => {
            const answer = await late.send();
            return answer.status === 409 ? undefined : answer;
          }, "A claim that nobody holds still locks its key.");
          checkStatus(retry, 200, "The retry");
          await late.ran(1);
        },
      },
    },
    {
      kind: "http",
      rule: "B-97",
      title: "a record that cannot be read is locked: 503, never a run, never a 500",
      mounted: {
        needs,
        test: async ({ mount }) => {
          const { watch, fail } = watchedStore();
          const { intent } = await mount({ store: watch, engine });
          const corrupt = new LatchkeyError(
            "store-corrupt",
            "The rule made the record unreadable.",
          );
          const garbage = { kind: "completed", result: Uint8Array.of(9, 9), completedAtMs: 0 };
          for (const reply of [
            () => Promise.reject(corrupt),
            () => Promise.resolve({ ...garbage, expiresInMs: 1000 }),
          ]) {
            const one = intent();
            fail("claim", reply);
            await one.ran(0);
            checkProblem(await one.send(), unavailable, "A request whose record cannot be read");
          }
        },
      },
    },
    {
      kind: "elsewhere",
      rule: "B-98",
      title: "a record cannot vanish between a refused claim and its reading",
      why: "A claim is one atomic step that answers everything (S-6): there is no second reading.",
      heldBy: "test/stores/stores.test.ts",
    },
    {
      kind: "elsewhere",
      rule: "B-99",
      title: "scripts that a Redis has forgotten are loaded again",
      why: "It is a matter of one store.",
      heldBy: "test/stores/stores.test.ts",
    },
  ],
};
