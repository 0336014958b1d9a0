/** The fetch adapter on Deno, with every store that runs there. */
import { afterAll, beforeAll, describe } from "vitest";
import { startRedis } from "../../support/redis-server.ts";
import type { RedisProcess } from "../../support/redis-server.ts";
import { commandOf, layFiles, layPackage } from "../support/lay.ts";
import { describeBattery } from "../support/rules.ts";
import { startServer } from "../support/server-process.ts";

const cwd = layPackage("deno");
const deno = commandOf("deno", "deno");
layFiles(cwd, ["deno/server.ts", "support/battery.ts", "support/open-store.ts"]);

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
