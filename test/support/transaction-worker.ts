/**
 * A process that places one order in a transaction and kills itself at a point between two
 * statements. Arguments: "pg" or "sqlite", the server's URL or the file's folder, key, point.
 */
import type { Begin, Transactions } from "../../src/engine/transaction/transactions.ts";
import { createEngine } from "../../src/index.ts";
import type { Store } from "../../src/index.ts";
import { pgWorld, sqliteWorld } from "./transactions.ts";

const [, , kind, where = "", key = "", fatal] = process.argv;
const world = kind === "pg" ? await pgWorld({ url: where }) : await sqliteWorld(where);

/** Dies here, if this is the point. */
function at(point: string): void {
  if (point === fatal) process.kill(process.pid, "SIGKILL");
}

/** The same before and after a call. */
async function around<T>(name: string, call: () => Promise<T>): Promise<T> {
  at(`before ${name}`);
  const value = await call();
  at(`after ${name}`);
  return value;
}

const store: Store = {
  ...world.store,
  within: (tx) => {
    const inside = world.store.within?.(tx) ?? world.store;
    return {
      ...inside,
      claim: (...args) => around("claim", () => inside.claim(...args)),
      complete: (...args) => around("complete", () => inside.complete(...args)),
    };
  },
};

function transactionsOf(from: Transactions<unknown>): Begin<unknown> {
  const begin = typeof from === "function" ? from : from.begin;
  return async (work) => {
    at("before BEGIN");
    await begin(async (tx) => {
      await work(tx);
      at("before COMMIT");
    });
    at("after COMMIT");
  };
}

process.send?.("ready");
const engine = createEngine({ store });
const transaction = transactionsOf(world.transaction);
await engine.run({ operation: "order", key, transaction }, async (_claim, tx) => {
  await around("effect", () => world.effect(tx, key));
  return "done";
});
process.send?.("done");
await world.close();
process.disconnect?.();
