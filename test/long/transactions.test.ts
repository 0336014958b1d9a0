/**
 * Processes that die by kill -9 at every point of a transaction, and servers that die at its
 * COMMIT: for every key there is one effect exactly if there is a recorded result, asked by SQL.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/index.ts";
import type { Begin } from "../../src/index.ts";
import { until } from "../support/poll.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { guard, slay } from "../support/server-process.ts";
import { pgWorld, sqliteWorld } from "../support/transactions.ts";
import type { World } from "../support/transactions.ts";

const worker = new URL("../support/transaction-worker.ts", import.meta.url).pathname;
const points = ["BEGIN", "claim", "effect", "complete", "COMMIT"]
  .flatMap((name) => [`before ${name}`, `after ${name}`])
  .filter((point) => point !== "after BEGIN");
const rounds = 4;
const delaysMs = [0, 1, 2, 3, 5, 8, 13, 21];

let server: PostgresProcess;
let folder: string;
beforeAll(async () => {
  server = await startPostgres({ settings: { fsync: "on" } });
  folder = mkdtempSync(join(tmpdir(), "latchkey-kills-"));
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

/** Runs a worker until it dies at its point, or is killed so long after it has begun. */
async function kill(args: readonly string[], afterMs?: number): Promise<boolean> {
  const child = fork(worker, args, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  guard(child);
  const exited = once(child, "exit");
  if (afterMs !== undefined) {
    await once(child, "message");
    await sleep(afterMs);
    await slay(child);
  }
  const [, signal] = (await exited) as [unknown, string | null];
  return signal === "SIGKILL";
}

/** At rest: one effect exactly if a result is recorded. Then a retry, which ends with one. */
async function judge(world: World, key: string): Promise<void> {
  const engine = createEngine({ store: world.store });
  const { transaction } = world;
  const request = { operation: "order", key };
  const [state, effects] = [
    (await engine.find(request))?.record.state,
    await world.effects(key),
  ] as const;
  expect([key, state, effects]).toEqual(
    state === undefined ? [key, undefined, 0] : [key, "completed", 1],
  );
  // The server may not have noticed yet that the dead process is gone.
  await until(() =>
    engine.run({ ...request, transaction }, (_claim, tx) => world.effect(tx, key)).then(() => true),
  );
  expect([key, await world.effects(key)]).toEqual([key, 1]);
}

describe.each(["pg", "sqlite"])("on %s", (kind) => {
  it(
    "a process that is killed at any point leaves both or neither",
    { timeout: 300_000 },
    async () => {
      const world = kind === "pg" ? await pgWorld(server) : await sqliteWorld(folder);
      const where = kind === "pg" ? server.url : folder;
      let kills = 0;
      for (let round = 0; round < rounds; round += 1) {
        for (const point of points) {
          const key = `${point}, ${round}`.replaceAll(" ", "-");
          const killed = await kill([kind, where, key, point]);
          expect([point, killed]).toEqual([point, true]);
          kills += 1;
          await judge(world, key);
        }
      }
      for (const delayMs of delaysMs) {
        const key = `after-${delayMs}-ms`;
        if (await kill([kind, where, key], delayMs)) kills += 1;
        await judge(world, key);
      }
      expect(kills).toBeGreaterThanOrEqual(40);
      await world.close();
    },
  );
});

it(
  "a server that dies at the COMMIT: what was told is what stands",
  { timeout: 300_000 },
  async () => {
    const told: string[] = [];
    for (const delayMs of [...delaysMs, ...delaysMs]) {
      const world = await pgWorld(server);
      const engine = createEngine({ store: world.store, lease: "20s" });
      const key = `crash-${told.length}`;
      let crashed: Promise<void> | undefined;
      const begin = world.transaction as Begin<unknown>;
      const transaction: Begin<unknown> = (work) =>
        begin(async (tx) => {
          await work(tx);
          crashed ??= sleep(delayMs / 4)
            .then(() => server.crash())
            .then(() => server.restart());
        });
      const run = engine.run({ operation: "order", key, transaction }, (_claim, tx) =>
        world.effect(tx, key),
      );
      const outcome = await run.then(
        () => "committed",
        () => "rejected",
      );
      await crashed;
      told.push(outcome);
      const standing = [
        await world.effects(key),
        (await engine.find({ operation: "order", key }))?.record.state,
      ];
      expect([key, outcome, ...standing]).toEqual(
        outcome === "committed" ? [key, outcome, 1, "completed"] : [key, outcome, 0, undefined],
      );
      await world.close();
    }
  },
);
