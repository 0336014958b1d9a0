/**
 * One store call fails, whichever it is, before it reaches the store or after: two clients of two
 * servers see one execution and its recorded result, 409 or 503, and never two results (S-13).
 */
import { describe, expect, it } from "vitest";
import type { Store } from "../../src/index.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { places, serve } from "../support/places.ts";
import { until } from "../support/poll.ts";

type When = "before" | "after";

/** A store whose call number `index` fails, and how many calls there were. */
function failing(inner: Store, index: number, when: When) {
  let calls = 0;
  const store = new Proxy(inner, {
    get: (target, name: keyof Store) => {
      const member = target[name];
      if (typeof member !== "function") return member;
      return async (...args: unknown[]): Promise<unknown> => {
        calls += 1;
        const isHit = calls - 1 === index;
        if (isHit && when === "before") throw new Error("The request is lost.");
        const reply: unknown = await Reflect.apply(member, target, args);
        if (isHit) throw new Error("The reply is lost.");
        return reply;
      };
    },
  });
  return { store, calls: () => calls };
}

/** What two clients on two servers see of one key, until each has its answer. */
async function outcomeOf(index: number, when: When, ending: "commits" | "plain" | "fails first") {
  const { store, calls } = failing(memoryStore(), index, when);
  const [[, place] = ["", undefined]] = places;
  if (place === undefined) throw new Error("There is no place to serve.");
  let [runs, effects] = [0, 0];
  const open = () =>
    serve({ ...place, engine: { store } }, async (_req, res, idempotency) => {
      runs += 1;
      if (ending === "fails first" && runs === 1) return res.writeHead(500).end("not yet");
      if (ending === "commits") await idempotency?.commit();
      effects += 1;
      return res.end(`effect ${effects}`);
    });
  await using one = await open();
  await using other = await open();
  const seen = new Set<string>();
  const client = (servers: readonly [typeof one, typeof one]): Promise<string> => {
    let server = servers[1];
    return until(async () => {
      server = server === servers[0] ? servers[1] : servers[0];
      const response = await server.post("k", { headers: { "x-user": "customer" } });
      const text = await response.text();
      seen.add(`${response.status}`);
      return response.status === 200 ? text : undefined;
    });
  };
  const answers = await Promise.all([client([one, other]), client([other, one])]);
  answers.push(await client([one, other]));
  return { answers: [...new Set(answers)], effects, seen: [...seen], isReached: calls() > index };
}

describe.each(["commits", "plain", "fails first"] as const)("a handler that %s", (ending) => {
  it.each(["before", "after"] as const)(
    "whose store fails once, %s a call (S-13)",
    async (when) => {
      let reached = 0;
      for (let index = 0; index < 8; index += 1) {
        const { answers, effects, seen, isReached } = await outcomeOf(index, when, ending);
        reached += Number(isReached);
        expect([index, answers, effects]).toEqual([index, ["effect 1"], 1]);
        const allowed =
          ending === "fails first" ? ["200", "409", "500", "503"] : ["200", "409", "503"];
        expect(allowed).toEqual(expect.arrayContaining(seen));
      }
      expect(reached).toBeGreaterThan(3);
    },
  );
});
