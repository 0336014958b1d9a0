/** Section 7: leases, owners that fall silent, and owners that come back. */
import type { WireAnswer } from "../wire/answer-reader.ts";
import { check, checkProblem, checkSafe, checkStatus, headerOf } from "../checks.ts";
import { eventually, whileHeld } from "../patience.ts";
import type { Ask, Intent } from "../route.ts";
import { checkRetry } from "../retry.ts";
import type { MountedRoute, Section } from "../rule.ts";
import { watchedStore } from "../watched-store.ts";

// The store's clock is moved by hand, and heartbeats beat by the real one: an owner of a lease of
// 30 s is silent for as long as a test takes, like one whose process was stopped. Retries go to a
// second server, which knows the owner by the store alone.
const leaseMs = 30_000;
const silentOwner = { needs: "a store whose clock can be moved, and a second server on it" };

/** The retry as another owner: the same key and body, counted and answered apart. */
function takeover(one: Intent, tell: Ask["tell"] = {}): Ask {
  return { tell: { id: `${one.id}-2`, status: 201, body: "of the new owner", ...tell } };
}

async function checkRefused(route: MountedRoute, one: Intent, what: string): Promise<void> {
  const retry = await one.at(route).send(takeover(one));
  const count = await route.executions(`${one.id}-2`);
  checkSafe(count === 0, `${what} ran the handler again.`);
  checkProblem(retry, { status: 409, code: "in-progress" }, what);
}

export const leases: Section = {
  title: "Lease, crash, zombie",
  rules: [
    {
      kind: "http",
      rule: "B-81",
      title: "a dead owner blocks its key for its lease; then one retry runs",
      mounted: {
        ...silentOwner,
        test: async ({ mount }) => {
          const route = await mount({});
          const second = await route.beside();
          const one = route.intent({ body: "of the old owner" });
          await whileHeld(one, async () => {
            await route.clock.advance(leaseMs - 1);
            await checkRefused(second, one, "A retry before the lease has ended");
            await route.clock.advance(1);
            const retries = Array.from({ length: 5 }, () => one.at(second).send(takeover(one)));
            const answers = await Promise.all(retries);
            const statuses = answers.map((answer) => answer.status);
            check(statuses.includes(201), `After the lease retries got ${statuses.join(", ")}.`);
            const count = await route.executions(`${one.id}-2`);
            checkSafe(count === 1, `After the lease ${count} of 5 retries ran.`);
          });
        },
      },
    },
    {
      kind: "http",
      rule: "B-82",
      title: "a handler that is slower than its lease keeps it: the heartbeat renews",
      mounted: {
        ...silentOwner,
        test: async ({ mount }) => {
          const { calls, watch } = watchedStore();
          const route = await mount({ engine: { lease: "120ms" }, store: watch });
          const second = await route.beside();
          const one = route.intent({ body: "slow" });
          const first = await whileHeld(one, async () => {
            for (let beat = 1; beat <= 4; beat += 1) {
              const renewed = (): boolean =>
                calls.filter(({ name }) => name === "renew").length >= beat;
              await eventually(renewed, "The lease is not renewed.");
              await route.clock.advance(80);
              await checkRefused(second, one, "A retry while the owner renews its lease");
            }
          });
          await checkRetry(one, first);
        },
      },
    },
    {
      kind: "http",
      rule: "B-83",
      title: "a late owner's result is refused once another has taken over",
      mounted: {
        ...silentOwner,
        test: async ({ mount }) => {
          const route = await mount({});
          const second = await route.beside();
          const one = route.intent({ body: "of the old owner" });
          let taken: WireAnswer | undefined;
          const own = await whileHeld(one, async () => {
            await route.clock.advance(leaseMs);
            taken = await one.at(second).send(takeover(one));
            checkStatus(taken, 201, "The new owner's client");
          });
          checkStatus(own, 200, "The old owner's client");
          check(own.body.toString() === "of the old owner", "The old owner's client was cheated.");
          if (taken !== undefined) await checkRetry(one, taken, { who: "A later retry" });
          check(route.events.includes("lease-lost"), "No event tells of the lost lease.");
        },
      },
    },
    {
      kind: "http",
      rule: "B-84",
      title: "a late owner's failure does not free the new owner's claim",
      mounted: {
        ...silentOwner,
        test: async ({ mount }) => {
          const route = await mount({});
          const second = await route.beside();
          const old = route.intent({ status: 503 });
          const running = await old.start(10_000);
          await route.clock.advance(leaseMs);
          const next = await old.at(second).start(10_000, takeover(old));
          checkStatus(await running.finish(), 503, "The old owner's client");
          const third: Ask = { tell: { id: `${old.id}-3`, status: 200 } };
          const retry = await old.send(third);
          const answer = await next.finish();
          checkStatus(retry, 409, "A retry while the new owner works");
          checkSafe((await route.executions(`${old.id}-3`)) === 0, "A third owner was let in.");
          await checkRetry(old, answer, { who: "A later retry" });
        },
      },
    },
    {
      kind: "http",
      rule: "B-85",
      title: "a slow owner whom nobody took over still records its result",
      mounted: {
        ...silentOwner,
        test: async ({ mount }) => {
          const route = await mount({});
          const one = route.intent({ body: "late, but the only one" });
          const first = await whileHeld(one, async () => route.clock.advance(leaseMs * 3));
          await checkRetry(one, first);
        },
      },
    },
    {
      kind: "http",
      rule: "B-86",
      title: "another body is refused also after the lease has ended",
      mounted: {
        ...silentOwner,
        test: async ({ mount }) => {
          const route = await mount({});
          const second = await route.beside();
          const one = route.intent();
          await whileHeld(one, async () => {
            await route.clock.advance(leaseMs);
            const other = await one.at(second).send({ ...takeover(one), body: "another" });
            checkProblem(other, { status: 422, code: "key-reused" }, "Another body");
          });
          await one.ran(1);
        },
      },
    },
    {
      kind: "http",
      rule: "B-87",
      title: "a takeover can be seen: Idempotency-Attempt, and an event",
      mounted: {
        ...silentOwner,
        test: async ({ mount }) => {
          const route = await mount({});
          const second = await route.beside();
          const one = route.intent();
          await whileHeld(one, async () => {
            await route.clock.advance(leaseMs);
            const answer = await one.at(second).send(takeover(one));
            const attempt = headerOf(answer, "idempotency-attempt");
            check(attempt === "2", `Idempotency-Attempt is ${attempt ?? "missing"}; expected 2.`);
          });
          check(second.events.includes("takeover"), "No event tells of the takeover.");
        },
      },
    },
    {
      kind: "http",
      rule: "B-88",
      title: "where nobody may take over, a lost owner leaves the outcome unknown",
      mounted: {
        needs: 'a route mounted with { onAbandoned: "in-doubt" }',
        test: async ({ mount }) => {
          const route = await mount({ options: { onAbandoned: "in-doubt" } });
          const second = await route.beside();
          const one = route.intent({ body: "late, but the only one" });
          const first = await whileHeld(one, async () => {
            await route.clock.advance(leaseMs);
            const unknown = { status: 409, code: "outcome-unknown" };
            const retry = await one.at(second).send(takeover(one));
            checkProblem(retry, unknown, "A retry after the owner was lost");
            check(headerOf(retry, "retry-after") === undefined, "It is told to retry.");
          });
          await checkRetry(one, first, { who: "A retry after the owner came back" });
        },
      },
    },
    {
      kind: "http",
      rule: "B-89",
      title: "after its retention a key is as good as new, and not before",
      mounted: {
        needs: "a route mounted with { retention }",
        test: async ({ mount }) => {
          const route = await mount({ options: { retention: "1h" } });
          const one = route.intent({ status: 201, body: "kept for an hour" });
          const first = await one.send();
          await route.clock.advance(3_599_999);
          await checkRetry(one, first);
          await route.clock.advance(1);
          const again = await one.send();
          checkStatus(again, 201, "A request after the retention");
          check(headerOf(again, "idempotency-replayed") === undefined, "It got a replay.");
          await one.ran(2);
        },
      },
    },
    {
      kind: "elsewhere",
      rule: "B-91",
      title: "clocks of servers that differ by minutes change nothing",
      why: "No client sees the clocks of a server.",
      heldBy: "test/stores/skewed-clocks.test.ts",
    },
  ],
};
