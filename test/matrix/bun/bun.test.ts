/** The fetch adapter on Bun, with every store that runs there. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startPostgres } from "../../support/postgres-server.ts";
import type { PostgresProcess } from "../../support/postgres-server.ts";
import { startRedis } from "../../support/redis-server.ts";
import type { RedisProcess } from "../../support/redis-server.ts";
import { commandOf, layExamples, layFiles, layPackage, typeErrors } from "../support/lay.ts";
import { describeBattery } from "../support/rules.ts";
import { startServer } from "../support/server-process.ts";

const cwd = layPackage("bun");
const bun = commandOf("bun", "bun");
layExamples(cwd, "bun.md");
layFiles(cwd, [
  "bun/server.ts",
  "support/battery.ts",
  "support/conformance.ts",
  "support/open-store.ts",
]);

const serve = (env: Readonly<Record<string, string>>) =>
  startServer(bun, ["bun/server.ts"], { cwd, env });

describeBattery("Bun, memory", () => serve({ STORE: "memory" }), { upgrades: true });
describeBattery("Bun, SQLite", () => serve({ STORE: "sqlite", PLACE: `${cwd}/latchkey.db` }));

describe("Redis", () => {
  let redis: RedisProcess | undefined;
  beforeAll(async () => void (redis = await startRedis()));
  afterAll(async () => redis?.stop());
  for (const client of ["ioredis", "node-redis"]) {
    describeBattery(`Bun, ${client}`, () => serve({ STORE: client, PLACE: redis?.url ?? "" }));
  }
});

describe("Postgres", () => {
  let postgres: PostgresProcess | undefined;
  beforeAll(async () => void (postgres = await startPostgres()));
  afterAll(async () => postgres?.stop());
  for (const client of ["pg", "postgres"]) {
    describeBattery(`Bun, ${client}`, () => serve({ STORE: client, PLACE: postgres?.url ?? "" }));
  }
});

describe("the example for Bun", () => {
  it("captures an order once (B-26, B-58)", async () => {
    const { url, close } = await startServer(bun, ["server.ts"], {
      cwd,
      env: { PORT: "0" },
      port: /localhost:(\d+)/,
    });
    try {
      const capture = (order: number) =>
        fetch(`${url}/orders/${order}/capture`, {
          method: "POST",
          body: '{"amount":42}',
          headers: { "idempotency-key": "k", "x-customer": "c" },
        });
      for (const replayed of [null, "true"]) {
        const response = await capture(7);
        expect(response.headers.get("idempotency-replayed")).toBe(replayed);
        expect([response.status, await response.json()]).toEqual([
          201,
          { captured: "7", amount: 42 },
        ]);
      }
      expect((await capture(8)).status).toBe(422);
    } finally {
      await close();
    }
  });

  it("compiles with Bun's types", () => {
    expect(typeErrors(cwd, ["server.ts"], ["bun-types"])).toBe("");
  });
});

describe("the SQLite store on Bun", () => {
  it("keeps the stores' contract (S-1 to S-14)", () => {
    const { stdout, stderr } = spawnSync(bun, ["support/conformance.ts"], { cwd });
    expect(stdout.toString() + stderr.toString()).toMatch(/^\d\d tests hold\n$/);
  });
});
