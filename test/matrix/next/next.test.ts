/** The fetch adapter in Next.js: built by it, checked by its types, served in production. */
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../support/poll.ts";
import { startRedis } from "../../support/redis-server.ts";
import type { RedisProcess } from "../../support/redis-server.ts";
import { commandOf, folderOf, layExamples, layFiles, layPackage } from "../support/lay.ts";
import { describeBattery } from "../support/rules.ts";
import { startServer } from "../support/server-process.ts";
import type { ServerProcess } from "../support/server-process.ts";

const cwd = layPackage("next");
const next = commandOf("next", "next");
const quiet = { NEXT_TELEMETRY_DISABLED: "1", CI: "1" };

const serve = (env: Readonly<Record<string, string>>) =>
  startServer(process.execPath, [next, "start", "--port", "0", "--hostname", "127.0.0.1"], {
    cwd,
    env: { ...quiet, ...env },
  });

beforeAll(() => {
  layExamples(cwd, "next.md");
  layFiles(cwd, ["support/battery.ts"]);
  for (const part of ["app", "next.config.mjs", "tsconfig.json"]) {
    cpSync(join(folderOf("next"), part), join(cwd, part), { recursive: true });
  }
  const build = spawnSync(process.execPath, [next, "build"], {
    cwd,
    env: { ...process.env, ...quiet },
    encoding: "utf8",
  });
  if (build.status !== 0) throw new Error(`next build failed:\n${build.stdout}${build.stderr}`);
}, 120_000);

describeBattery("Next.js", () => serve({ PLACE: join(cwd, "latchkey.db") }));

describe("the example for Next.js", () => {
  let redis: RedisProcess | undefined;
  let served: ServerProcess | undefined;
  beforeAll(async () => {
    redis = await startRedis();
    served = await serve({ REDIS_URL: redis.url });
  }, 60_000);
  afterAll(async () => {
    await served?.close();
    await redis?.stop();
  });

  const post = (path: string, init: RequestInit = {}) =>
    fetch(`${served?.url}${path}`, {
      method: "POST",
      redirect: "manual",
      ...init,
      headers: { "idempotency-key": "k", "x-customer": "c", ...(init.headers as object) },
    });

  it("captures an order once, whatever is retried (B-26, B-55, B-58)", async () => {
    const body = JSON.stringify({ amount: 42 });
    const json = { body, headers: { "content-type": "application/json" } };
    const first = await post("/orders/7/capture", json);
    expect([first.status, await first.json()]).toEqual([201, { captured: "7", amount: 42 }]);
    const retry = await post("/orders/7/capture", json);
    expect(retry.headers.get("idempotency-replayed")).toBe("true");
    expect([retry.status, await retry.json()]).toEqual([201, { captured: "7", amount: 42 }]);
    expect((await post("/orders/8/capture", json)).status).toBe(422);
    expect((await post("/orders/7/capture", { ...json, body: "{}" })).status).toBe(422);
    expect((await post("/orders/7/capture", { headers: { "x-customer": "" } })).status).toBe(400);
  });

  it("records what redirect() and notFound() throw as Next.js answers it (B-78)", async () => {
    const type = "application/x-www-form-urlencoded";
    const form = { body: "a=1", headers: { "idempotency-key": "form", "content-type": type } };
    const cases = [
      [307, "/thanks?you", await post("/thrown/redirect?for=you"), "k"],
      [303, "/thanks?us", await post("/thrown/redirect?for=us", form), "form"],
      [404, null, await post("/thrown/missing"), "k"],
    ] as const;
    const retries = [
      await post("/thrown/redirect?for=you"),
      await post("/thrown/redirect?for=us", form),
      await post("/thrown/missing"),
    ];
    for (const [index, [status, location, first]] of cases.entries()) {
      const retry = retries[index] ?? first;
      expect([first.status, first.headers.get("location")]).toEqual([status, location]);
      expect([retry.status, retry.headers.get("location")]).toEqual([status, location]);
      expect(retry.headers.get("idempotency-replayed")).toBe("true");
    }
  });

  it("frees the key of a failure, and runs after() for each execution (B-68)", async () => {
    const counts = async (): Promise<Readonly<Record<string, number>>> => {
      const response = await fetch(`${served?.url}/thrown/any`);
      return (await response.json()) as Record<string, number>;
    };
    const before = await counts();
    expect((await post("/thrown/failure")).status).toBe(500);
    expect((await post("/thrown/failure")).status).toBe(500);
    const { runs = 0 } = await counts();
    expect(runs).toBe((before["runs"] ?? 0) + 2);
    await until(async () => (await counts())["finished"] === runs);
  });
});
