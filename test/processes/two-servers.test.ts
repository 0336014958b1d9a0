/** Two server processes that share one store: races, crashes and pauses, on each kind of store. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startDemo } from "../support/demo-process.ts";
import type { DemoProcess } from "../support/demo-process.ts";
import { until } from "../support/poll.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisProcess } from "../support/redis-server.ts";

let folder: string;
let redis: RedisProcess;
let postgres: PostgresProcess;
const running: DemoProcess[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-demo-"));
  redis = await startRedis();
  postgres = await startPostgres({ settings: { fsync: "on" } }); // as the demo demands
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((demo) => demo.kill()));
});
afterAll(async () => {
  await Promise.all([redis.stop(), postgres.stop()]);
  rmSync(folder, { recursive: true });
});

async function start(flags: Readonly<Record<string, string>>): Promise<DemoProcess> {
  const demo = await startDemo(flags);
  running.push(demo);
  return demo;
}

/** The answer of the request that holds the claim: of two at once, the one that is not refused. */
async function owned(
  demo: DemoProcess,
  key: string,
): Promise<{ readonly answer: Promise<Response> }> {
  const two = [demo.pay(key), demo.pay(key)] as const;
  const [loser, winner] = await Promise.race([
    two[0].then((first) => [first, two[1]] as const),
    two[1].then((second) => [second, two[0]] as const),
  ]);
  expect(loser.status).toBe(409);
  return { answer: winner };
}

/** Polls until the key is answered with 200; every answer before must be a 409. */
async function settled(demo: DemoProcess, key: string): Promise<Response> {
  return until(
    async () => {
      const response = await demo.pay(key);
      if (response.status === 200) return response;
      expect(response.status).toBe(409);
      return undefined;
    },
    { what: "an answer", withinMs: 15_000, everyMs: 25 },
  );
}

let files = 0;
const stores: readonly (readonly [string, () => string])[] = [
  ["SQLite", () => `sqlite:${join(folder, `${(files += 1)}.db`)}`],
  ["Redis", () => redis.url],
  ["Postgres", () => postgres.url],
];

/** Receipts of what was really executed for a key, in the books of all servers. */
async function booked(demos: readonly DemoProcess[], key: string): Promise<readonly string[]> {
  const books = await Promise.all(demos.map((demo) => demo.charges()));
  const mine = books.flat().filter((charge) => charge.key === key);
  return [...new Set(mine.map((charge) => charge.receipt))];
}

describe.each(stores)("two servers on one %s", (name, storeOf) => {
  const keyed = (test: string): string => `${name}-${test}`;

  it("charge once for 50 requests at once, and replay the same bytes (B-46, B-47)", async () => {
    const flags = { store: storeOf(), delay: "2s" }; // all are asked before the first is done
    const [one, two] = await Promise.all([start(flags), start(flags)]);
    const key = keyed("storm");
    const requests = Array.from({ length: 50 }, (_, index) => (index % 2 ? one : two).pay(key));
    const answers = await Promise.all(requests);
    const statuses = answers.map((answer) => answer.status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([200, ...Array.from({ length: 49 }, () => 409)]);
    const winner = answers.find((answer) => answer.status === 200);
    const bytes = await winner?.text();
    for (const demo of [one, two]) {
      const startedAt = performance.now();
      const retry = await demo.pay(key);
      expect(await retry.text()).toBe(bytes);
      expect(retry.headers.get("idempotency-replayed")).toBe("true");
      expect(performance.now() - startedAt).toBeLessThan(2000);
    }
    expect(await booked([one, two], key)).toHaveLength(1);
  });

  it("block a killed owner's key for its lease, then one retry charges (B-81)", async () => {
    const flags = { store: storeOf(), lease: "1500ms" };
    const [slow, quick] = await Promise.all([
      start({ ...flags, delay: "60s" }),
      start({ ...flags, delay: "0ms" }),
    ]);
    const key = keyed("kill");
    const { answer } = await owned(slow, key);
    const lost = answer.catch(() => "cut");
    const killedAt = performance.now();
    await slow.kill();
    expect(await lost).toBe("cut");
    expect((await quick.pay(key)).status).toBe(409);
    await settled(quick, key);
    const waited = performance.now() - killedAt;
    expect(waited).toBeGreaterThan(500); // renewed at the latest a third of the lease before
    expect(waited).toBeLessThan(1500 + 1000);
    expect(await booked([quick], key)).toHaveLength(1);
    expect(quick.complaints()).toContain("takeover");
  });
});

// What a paused owner and a slow one are told on Postgres is held by its contract suite and races.
const twoKinds = stores.slice(0, 2);
describe.each(twoKinds)("leases of two servers on one %s", (name, storeOf) => {
  const keyed = (test: string): string => `${name}-${test}`;

  it("let a live owner work for three leases (B-82)", async () => {
    const flags = { store: storeOf(), lease: "1s", delay: "3100ms" };
    const [one, two] = await Promise.all([start(flags), start(flags)]);
    const key = keyed("slow");
    const { answer } = await owned(one, key);
    const replay = await settled(two, key);
    expect(replay.headers.get("idempotency-replayed")).toBe("true");
    expect(await replay.text()).toBe(await (await answer).text());
    expect(await booked([one, two], key)).toHaveLength(1);
  });

  it("refuse the result of an owner that was paused and taken over (B-83, B-84)", async () => {
    const flags = { store: storeOf(), lease: "1s" };
    const [paused, other] = await Promise.all([
      start({ ...flags, delay: "1300ms" }),
      start({ ...flags, delay: "10ms" }),
    ]);
    const key = keyed("pause");
    const { answer } = await owned(paused, key);
    paused.signal("SIGSTOP");
    const taken = await (await settled(other, key)).text();
    paused.signal("SIGCONT");
    const own = await answer;
    expect(own.status).toBe(200);
    expect(await own.text()).not.toBe(taken);
    for (const demo of [paused, other]) expect(await (await demo.pay(key)).text()).toBe(taken);
    expect(paused.complaints()).toContain("lease-lost");
  });

  it("charge twice without protection, so that the race can be seen", async () => {
    const demo = await start({ store: storeOf(), delay: "100ms" });
    const before = (await demo.charges()).length;
    const path = "/unprotected/process-payment";
    const answers = await Promise.all([demo.pay("x", path), demo.pay("x", path)]);
    expect(answers.map((answer) => answer.status)).toEqual([200, 200]);
    expect((await demo.charges()).length - before).toBe(2);
  });
});

describe("a server on SQLite", () => {
  it("replays what it had recorded before it was killed", async () => {
    const store = `sqlite:${join(folder, "again.db")}`;
    const first = await start({ store, delay: "0ms" });
    const bytes = await (await first.pay("k")).text();
    await first.kill();
    const second = await start({ store, delay: "0ms" });
    expect(await (await second.pay("k")).text()).toBe(bytes);
    expect(await second.charges()).toHaveLength(1);
  });
});
