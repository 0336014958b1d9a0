/** The fetch adapter on Bun, with every store that runs there. */
import { afterAll, beforeAll, describe } from "vitest";
import { startRedis } from "../../support/redis-server.ts";
import type { RedisProcess } from "../../support/redis-server.ts";
import { commandOf, layFiles, layPackage } from "../support/lay.ts";
import { describeBattery } from "../support/rules.ts";
import { startServer } from "../support/server-process.ts";

const cwd = layPackage("bun");
const bun = commandOf("bun", "bun");
layFiles(cwd, ["bun/server.ts", "support/battery.ts", "support/open-store.ts"]);

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
