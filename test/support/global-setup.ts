// Runs once before all tests: finds a redis-server and tells every test file where it is. Servers
// themselves are started by the tests that need them (redis-server.ts).

import type { TestProject } from "vitest/node";
import { ensureRedisServer, NO_REDIS } from "../../scripts/ensure-redis.ts";

declare module "vitest" {
  /** What the global setup provides, read with `inject("redisServerBin")`. */
  export interface ProvidedContext {
    /** Path of a real redis-server, or "" where there is none. */
    redisServerBin: string;
  }
}

/** Vitest's hook. With `REQUIRE_ALL=1` a missing redis-server ends the run. */
export default function setup(project: TestProject): void {
  const path = ensureRedisServer();
  if (path === undefined && process.env["REQUIRE_ALL"] === "1") throw new Error(NO_REDIS);
  if (path === undefined) process.stderr.write(`${NO_REDIS}\n`);
  project.provide("redisServerBin", path ?? "");
}
