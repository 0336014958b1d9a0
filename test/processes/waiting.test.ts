/** A duplicate that waits in one process for an owner in another: woken, and heir to the dead. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/engine.ts";
import { storeFromUrl } from "../../src/stores/store-from-url.ts";
import { until } from "../support/poll.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisProcess } from "../support/redis-server.ts";

const source = (path: string) => new URL(`../../src/${path}`, import.meta.url).href;
const script = `
  import { createEngine } from "${source("engine/engine.ts")}";
  import { storeFromUrl } from "${source("stores/store-from-url.ts")}";
  const [url, key, workMs] = process.argv.slice(1);
  const store = await storeFromUrl(url);
  const engine = createEngine({ store, lease: "1s" });
  const request = { operation: "charge", key };
  await engine.run(request, () => {
    console.log("at work");
    return new Promise((resolve) => setTimeout(() => resolve("elsewhere"), Number(workMs)));
  });
  console.log("done at " + Date.now());
  await store.close();`;

let folder: string;
let redis: RedisProcess;
let postgres: PostgresProcess;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-waiting-"));
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
});
afterAll(async () => {
  await Promise.all([redis.stop(), postgres.stop()]);
  rmSync(folder, { recursive: true });
});

interface Owner {
  readonly child: ChildProcess;
  readonly output: () => string;
}
/** Another process that works under a key. */
async function startOwner(url: string, key: string, workMs: number): Promise<Owner> {
  const args = ["--input-type=module", "--eval", script, "--", url, key, String(workMs)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await until(() => output.includes("at work"), { withinMs: 15_000, what: "the owner at work" });
  return { child, output: () => output };
}

const stores: readonly (readonly [string, () => string])[] = [
  ["Redis", () => redis.url],
  ["Postgres", () => postgres.url],
  ["SQLite", () => `sqlite:${join(folder, "waiting.db")}`],
];

describe.each(stores)("a waiter on %s", (_name, urlOf) => {
  it("is woken by the other process's completion, not by its poll (B-49)", async () => {
    const { child, output } = await startOwner(urlOf(), "woken", 700);
    const store = await storeFromUrl(urlOf());
    const engine = createEngine({ store });
    const answer = await engine.run(
      { operation: "charge", key: "woken", wait: "9s" },
      () => "here",
    );
    const answeredAtMs = Date.now();
    if (child.exitCode === null) await once(child, "exit");
    const [, doneAtMs] = /done at (\d+)/.exec(output()) ?? [];
    expect(answer).toBe("elsewhere");
    // Some 5 ms on Redis and Postgres, 50 on SQLite; a watching waiter polls every 2000.
    expect(answeredAtMs - Number(doneAtMs)).toBeLessThan(400);
    await store.close();
  });

  it("takes over when the other process is killed, at its lease's end (B-51)", async () => {
    const { child } = await startOwner(urlOf(), "killed", 60_000);
    const store = await storeFromUrl(urlOf());
    const engine = createEngine({ store });
    const answer = engine.run({ operation: "charge", key: "killed", wait: "9s" }, (claim) => {
      return `attempt ${claim.attempt}`;
    });
    child.kill("SIGKILL");
    const startedAt = performance.now();
    expect(await answer).toBe("attempt 2");
    expect(performance.now() - startedAt).toBeLessThan(1000 + 1000);
    await engine.close();
    await store.close();
  });
});

it("waiters leave no subscription and no connection behind", async () => {
  const admin = new Redis(redis.port, "127.0.0.1");
  await until(async () => ((await admin.call("PUBSUB", "SHARDCHANNELS")) as []).length === 0);
  const clients = async () =>
    String(await admin.call("CLIENT", "LIST"))
      .trim()
      .split("\n").length;
  await until(async () => (await clients()) === 1);
  expect(await clients()).toBe(1);
  admin.disconnect();
});
