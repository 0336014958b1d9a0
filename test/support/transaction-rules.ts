/** What a transaction promises, whatever begins it: claim, work and result together, or not at all. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine, idempotent, isLatchkeyError } from "../../src/index.ts";
import type { Engine } from "../../src/index.ts";
import type { World } from "./transactions.ts";

const codeOf = (error: unknown): unknown => (isLatchkeyError(error) ? error.code : error);
let keys = 0;

/** Tries all of it on a world. */
export function describeTransactions(name: string, create: () => Promise<World>): void {
  describe(`a transaction through ${name}`, () => {
    let world: World;
    let engine: Engine;
    const ask = () => ({ operation: "order", key: `key-${(keys += 1)}`, input: { amount: 1 } });
    beforeAll(async () => {
      world = await create();
      engine = createEngine({ store: world.store });
    });
    afterAll(() => world.close());

    /** One order in a transaction of the engine's. */
    function order(request: ReturnType<typeof ask>, after: () => unknown = () => "done") {
      const { transaction } = world;
      return engine.run({ ...request, transaction }, async (_claim, tx) => {
        await world.effect(tx, request.key);
        return after();
      });
    }

    /** What is committed for a key: its record's state and its effects. */
    async function standing({ operation, key }: ReturnType<typeof ask>) {
      const found = await engine.find({ operation, key });
      return [found?.record.state, await world.effects(key)];
    }

    it("commits work and record together, and replays", async () => {
      const request = ask();
      expect(await order(request)).toBe("done");
      expect(await standing(request)).toEqual(["completed", 1]);
      expect(await order(request, () => "again")).toBe("done");
      expect(await standing(request)).toEqual(["completed", 1]);
    });

    it("leaves nothing at all of work that throws", async () => {
      const request = ask();
      const failure = new Error("no stock");
      const failing = () => {
        throw failure;
      };
      await expect(order(request, failing)).rejects.toBe(failure);
      expect(await standing(request)).toEqual([undefined, 0]);
      const { transaction } = world;
      expect(await engine.run({ ...request, transaction }, ({ attempt }) => attempt)).toBe(1);
    });

    it("refuses another input under the same key", async () => {
      const request = ask();
      await order(request);
      const other = await order({ ...request, input: { amount: 2 } }).catch(codeOf);
      expect(other).toBe("key-reused");
      expect(await standing(request)).toEqual(["completed", 1]);
    });

    it("protects a plain function", async () => {
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
    });

    it("knows no other point of no return than the COMMIT", async () => {
      const request = { ...ask(), transaction: world.transaction };
      await expect(engine.run(request, (claim) => claim.commit())).rejects.toThrow(/COMMIT/);
      expect(await standing(request)).toEqual([undefined, 0]);
    });

    /** Begins a transaction by hand, and runs work on the engine inside it. */
    function byHand(work: (inside: Engine, tx: unknown) => Promise<void>): Promise<unknown> {
      const from = world.transaction;
      const isPlain = typeof from === "function";
      return (isPlain ? from : from.begin)(async (tx) => {
        const client = isPlain ? tx : from.client(tx);
        await work(engine.with(world.store.within?.(client) ?? world.store), tx);
      });
    }

    it("joins a transaction that the user begins and commits", async () => {
      const request = ask();
      const once = () =>
        byHand((inside, tx) => inside.run(request, () => world.effect(tx, request.key)));
      await once();
      expect(await standing(request)).toEqual(["completed", 1]);
      await once(); // a replay
      expect(await standing(request)).toEqual(["completed", 1]);
    });

    it("leaves nothing at all when the user rolls back after the work", async () => {
      const request = ask();
      const rolledBack = byHand(async (inside, tx) => {
        await inside.run(request, () => world.effect(tx, request.key));
        throw new Error("changed my mind");
      });
      await expect(rolledBack).rejects.toThrow("changed my mind");
      expect(await standing(request)).toEqual([undefined, 0]);
    });

    it("leaves no claim behind when the user commits in spite of an error", async () => {
      const request = ask();
      await byHand(async (inside) => {
        const failing = inside.run(request, () => Promise.reject(new Error("no stock")));
        await expect(failing).rejects.toThrow("no stock");
      });
      expect(await standing(request)).toEqual(["released", 0]);
      expect(await order(request)).toBe("done");
    });

    it("commits a step together with its record, or neither", async () => {
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
    });

    it("refuses a client that is in no transaction, before any work", async () => {
      const request = ask();
      const outside = world.store.within?.(world.outside) ?? world.store;
      const refused = await engine
        .with(outside)
        .run(request, () => 1)
        .catch(codeOf);
      expect(refused).toBe("store-unsuitable");
      expect(await standing(request)).toEqual([undefined, 0]);
    });
  });
}
