/**
 * A Redis that is killed, and one whose machine loses power: what each persistence setting keeps of
 * acknowledged records. Power is cut by killing the server and truncating its log to what was on
 * the disk for certain.
 */
import { readdirSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import { redisStore } from "../../../src/stores/redis/redis-store.ts";
import type { Store } from "../../../src/stores/store.ts";
import { claimPayment, completePayment, findPayment } from "../../support/payments.ts";
import { until } from "../../support/poll.ts";
import { startRedis } from "../../support/redis-server.ts";
import type { RedisProcess } from "../../support/redis-server.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function open(fsync: "always" | "everysec" | "no"): Promise<Place> {
  const server = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", fsync] });
  const client = new Redis(server.port, "127.0.0.1", { retryStrategy: () => 20 });
  client.on("error", () => undefined);
  closers.push(
    () => server.stop(),
    () => client.disconnect(),
  );
  const dir = (await client.config("GET", "dir"))[1] ?? "";
  const log = (): string => {
    const folder = join(dir, "appendonlydir");
    const name = readdirSync(folder).find((one) => one.endsWith(".incr.aof"));
    return join(folder, name ?? "");
  };
  const store = redisStore(client, { allowVolatile: true });
  return { server, client, store, log, sizeOf: () => statSync(log()).size };
}
interface Place {
  readonly server: RedisProcess;
  readonly client: Redis;
  readonly store: Store;
  readonly log: () => string;
  readonly sizeOf: () => number;
}

async function record(store: Store, [from, to]: readonly [number, number]): Promise<void> {
  for (let index = from; index < to; index += 1) {
    await claimPayment(store, index);
    await completePayment(store, index);
  }
}

/** How many of the first `count` records are as acknowledged, and how many would run again. */
async function fateOf(
  { store, client }: Place,
  count: number,
): Promise<{ readonly kept: number; readonly forgotten: number }> {
  await until(() => (client.status === "ready" ? client.ping() : undefined), { withinMs: 10_000 });
  const all = Array.from({ length: count }, (_, index) => findPayment(store, index));
  const found = await Promise.all(all);
  return {
    kept: found.filter((one) => one === "receipt").length,
    forgotten: found.filter((one) => one === "claimed").length,
  };
}

describe("a Redis with an append-only log", () => {
  it.each(["always", "everysec"] as const)(
    "keeps all it acknowledged when it is killed (appendfsync %s)",
    async (fsync) => {
      const place = await open(fsync);
      await record(place.store, [0, 300]);
      await place.server.kill();
      await place.server.restart();
      expect(await fateOf(place, 300)).toEqual({ kept: 300, forgotten: 0 });
    },
  );

  it("keeps all it acknowledged in a power cut (appendfsync always)", async () => {
    const place = await open("always");
    await record(place.store, [0, 200]);
    const durable = place.sizeOf(); // written and synchronised before each reply
    void claimPayment(place.store, 999).catch(() => undefined); // under way: nobody knows
    await place.server.kill();
    truncateSync(place.log(), durable);
    await place.server.restart();
    expect(await fateOf(place, 200)).toEqual({ kept: 200, forgotten: 0 });
  });

  it("forgets in a power cut what was not synchronised (no guarantee: fsync no)", async () => {
    const place = await open("no");
    await record(place.store, [0, 100]);
    await place.client.call("CONFIG", "SET", "appendfsync", "always");
    await record(place.store, [100, 101]); // synchronises all that came before
    await place.client.call("CONFIG", "SET", "appendfsync", "no");
    const durable = place.sizeOf();
    await record(place.store, [101, 200]);
    await place.server.kill();
    truncateSync(place.log(), durable);
    await place.server.restart();
    expect(await fateOf(place, 200)).toEqual({ kept: 101, forgotten: 99 });
  });
});
