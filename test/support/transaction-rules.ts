/**
 * What a transaction promises, whatever begins it: claim, work and result together, or not at all.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine, idempotent, isLatchkeyError } from "../../src/index.ts";
import type { Engine } from "../../src/index.ts";
import type { World } from "./transactions.ts";

const codeOf = (error: unknown): unknown => (isLatchkeyError(error) ? error.code : error);
let keys = 0;
const ask = () => ({ operation: "order", key: `key-${(keys += 1)}`, input: { amount: 1 } });
type Request = ReturnType<typeof ask>;

/** Tries all of it on a world. */
export function describeTransactions(name: string, create: () => Promise<World>): void {
  describe(`a transaction through ${name}`, () => {
    let arena: Arena;
    beforeAll(async () => {
      arena = arenaOf(await create());
    });
    afterAll(() => arena.world.close());
    it.each(Object.entries(rules))("%s", async (_, rule) => {
      expect.hasAssertions();
      await rule(arena);
    });
  });
}

interface Arena {
  readonly world: World;
  readonly engine: Engine;
  /** One order in a transaction of the engine's. */
  readonly order: (request: Request, after?: () => unknown) => Promise<unknown>;
  /** What is committed for a key: its record's state and its effects. */
  readonly standing: (request: Request) => Promise<readonly [string | undefined, number]>;
  /** Begins a transaction by hand, and runs work on the engine inside it. */
  readonly byHand: (work: (inside: Engine, tx: unknown) => Promise<void>) => Promise<unknown>;
}

function arenaOf(world: World): Arena {
  const { store, transaction } = world;
  const engine = createEngine({ store });
  return {
    world,
    engine,
    order: (request, after = () => "done") =>
      engine.run({ ...request, transaction }, async (_claim, tx) => {
        await world.effect(tx, request.key);
        return after();
      }),
    standing: async ({ operation, key }) => {
      const found = await engine.find({ operation, key });
      return [found?.record.state, await world.effects(key)];
    },
    byHand: (work) => {
      const isPlain = typeof transaction === "function";
      return (isPlain ? transaction : transaction.begin)(async (tx) => {
        const client = isPlain ? tx : transaction.client(tx);
        await work(engine.with(store.within?.(client) ?? store), tx);
      });
    },
  };
}

const rules: Readonly<Record<string, (arena: Arena) => Promise<void>>> = {
  "commits work and record together, and replays": async ({ order, standing }) => {
    const request = ask();
    expect(await order(request)).toBe("done");
    expect(await standing(request)).toEqual(["completed", 1]);
    expect(await order(request, () => "again")).toBe("done");
    expect(await standing(request)).toEqual(["completed", 1]);
  },
  "leaves nothing at all of work that throws": async ({ engine, world, order, standing }) => {
    const request = ask();
    const failure = new Error("no stock");
    const failing = () => {
      throw failure;
    };
    await expect(order(request, failing)).rejects.toBe(failure);
    expect(await standing(request)).toEqual([undefined, 0]);
    const { transaction } = world;
    expect(await engine.run({ ...request, transaction }, ({ attempt }) => attempt)).toBe(1);
  },
  "refuses another input under the same key": async ({ order, standing }) => {
    const request = ask();
    await order(request);
    const other = await order({ ...request, input: { amount: 2 } }).catch(codeOf);
    expect(other).toBe("key-reused");
    expect(await standing(request)).toEqual(["completed", 1]);
  },
  "protects a plain function": async ({ engine, world }) => {
    const { transaction } = world;
    const place = idempotent(
      engine,
      async (id: string, _claim, tx: unknown) => {
        await world.effect(tx, id);
        return `placed ${id}`;
      },
      { operation: "place", key: (id) => id, transaction },
    );
    const id = ask().key;
    expect([await place(id), await place(id)]).toEqual([`placed ${id}`, `placed ${id}`]);
    expect(await world.effects(id)).toBe(1);
  },
  "knows no other point of no return than the COMMIT": async ({ engine, world, standing }) => {
    const request = { ...ask(), transaction: world.transaction };
    await expect(engine.run(request, (claim) => claim.commit())).rejects.toThrow(/COMMIT/);
    expect(await standing(request)).toEqual([undefined, 0]);
  },
  "joins a transaction that the user begins and commits": async ({ world, standing, byHand }) => {
    const request = ask();
    const once = () =>
      byHand((inside, tx) => inside.run(request, () => world.effect(tx, request.key)));
    await once();
    expect(await standing(request)).toEqual(["completed", 1]);
    await once(); // a replay
    expect(await standing(request)).toEqual(["completed", 1]);
  },
  "leaves nothing at all when the user rolls back after the work": async ({
    world,
    standing,
    byHand,
  }) => {
    const request = ask();
    const rolledBack = byHand(async (inside, tx) => {
      await inside.run(request, () => world.effect(tx, request.key));
      throw new Error("changed my mind");
    });
    await expect(rolledBack).rejects.toThrow("changed my mind");
    expect(await standing(request)).toEqual([undefined, 0]);
  },
  "leaves no claim behind when the user commits in spite of an error": async ({
    order,
    standing,
    byHand,
  }) => {
    const request = ask();
    await byHand(async (inside) => {
      const failing = inside.run(request, () => Promise.reject(new Error("no stock")));
      await expect(failing).rejects.toThrow("no stock");
    });
    expect(await standing(request)).toEqual(["released", 0]);
    expect(await order(request)).toBe("done");
  },
  "commits a step together with its record, or neither": async ({ engine, world, standing }) => {
    const request = ask();
    const { transaction } = world;
    const failing = () => Promise.reject(new Error("no stock"));
    const attempt = (then: () => unknown) =>
      engine.run(request, async ({ step }) => {
        await step("reserve", { transaction }, async (_step, tx) => {
          await world.effect(tx, request.key);
          return then();
        });
        return failing();
      });
    await expect(attempt(failing)).rejects.toThrow("no stock");
    expect(await standing(request)).toEqual(["released", 0]);
    await expect(attempt(() => 1)).rejects.toThrow("no stock");
    expect(await standing(request)).toEqual(["released", 1]);
    await expect(attempt(() => 2)).rejects.toThrow("no stock"); // resumes behind the step
    expect(await standing(request)).toEqual(["released", 1]);
  },
  "refuses a client that is in no transaction, before any work": async ({
    engine,
    world,
    standing,
  }) => {
    const request = ask();
    const outside = world.store.within?.(world.outside) ?? world.store;
    const refused = await engine
      .with(outside)
      .run(request, () => 1)
      .catch(codeOf);
    expect(refused).toBe("store-unsuitable");
    expect(await standing(request)).toEqual([undefined, 0]);
  },
};
