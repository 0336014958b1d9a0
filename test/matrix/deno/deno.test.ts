/** The fetch adapter on Deno, with every store that runs there. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startPostgres } from "../../support/postgres-server.ts";
import type { PostgresProcess } from "../../support/postgres-server.ts";
import { startRedis } from "../../support/redis-server.ts";
import type { RedisProcess } from "../../support/redis-server.ts";
import { commandOf, layExamples, layFiles, layPackage, readPage } from "../support/lay.ts";
import { describeBattery } from "../support/rules.ts";
import { startServer } from "../support/server-process.ts";

const cwd = layPackage("deno");
const deno = commandOf("deno", "deno");
layExamples(cwd, "deno.md");
layFiles(cwd, [
  "deno/server.ts",
  "support/battery.ts",
  "support/conformance.ts",
  "support/open-store.ts",
]);

const serve = (env: Readonly<Record<string, string>>) =>
  startServer(deno, ["run", "-A", "--no-check", "deno/server.ts"], { cwd, env });

describeBattery("Deno, memory", () => serve({ STORE: "memory" }), { upgrades: true });
describeBattery("Deno, SQLite", () => serve({ STORE: "sqlite", PLACE: `${cwd}/latchkey.db` }));

describe("Redis", () => {
  let redis: RedisProcess | undefined;
  beforeAll(async () => void (redis = await startRedis()));
  afterAll(async () => redis?.stop());
  for (const client of ["ioredis", "node-redis"]) {
    describeBattery(`Deno, ${client}`, () => serve({ STORE: client, PLACE: redis?.url ?? "" }));
  }
});

describe("Postgres", () => {
  let postgres: PostgresProcess | undefined;
  beforeAll(async () => void (postgres = await startPostgres()));
  afterAll(async () => postgres?.stop());
  for (const client of ["pg", "postgres"]) {
    describeBattery(`Deno, ${client}`, () => serve({ STORE: client, PLACE: postgres?.url ?? "" }));
  }
});

describe("the example for Deno", () => {
  const flags = ["--allow-net", "--allow-read", "--allow-write=data"];

  it("pays once, with the permissions that the page names (B-26)", async () => {
    expect(readPage("deno.md")).toContain(`deno run ${flags.join(" ")} server.ts`);
    const args = ["run", "--no-prompt", ...flags, "server.ts", "0"];
    const { url, close } = await startServer(deno, args, { cwd });
    try {
      for (const replayed of [null, "true"]) {
        const response = await fetch(`${url}/payments`, {
          method: "POST",
          body: '{"amount":42}',
          headers: { "idempotency-key": "k", "x-customer": "c" },
        });
        expect(response.headers.get("idempotency-replayed")).toBe(replayed);
        expect([response.status, await response.json()]).toEqual([201, { paid: 42, by: "tcp" }]);
      }
    } finally {
      await close();
    }
  });

  it("compiles with Deno's types", () => {
    const env = { ...process.env, NO_COLOR: "1" };
    const { status, stderr } = spawnSync(deno, ["check", "server.ts"], {
      cwd,
      env,
      encoding: "utf8",
    });
    expect([status, stderr]).toEqual([0, expect.stringContaining("Check server.ts")]);
  });
});

describe("the SQLite store on Deno", () => {
  it("keeps the stores' contract (S-1 to S-14)", () => {
    const args = ["run", "-A", "--no-check", "support/conformance.ts"];
    const { stdout, stderr } = spawnSync(deno, args, { cwd });
    expect(stdout.toString() + stderr.toString()).toMatch(/^\d\d tests hold\n$/);
  });
});
