// Runs once before all tests: finds a redis-server and a Postgres and tells every test file where
// they are. Servers themselves are started by the tests that need them (redis-server.ts,
// postgres-server.ts).

import type { TestProject } from "vitest/node";
import { ensurePostgres, NO_POSTGRES } from "../../scripts/ensure-postgres.ts";
import { ensureRedisServer, NO_REDIS } from "../../scripts/ensure-redis.ts";

declare module "vitest" {
  /** What the global setup provides, read with `inject("redisServerBin")`. */
  export interface ProvidedContext {
    /** Path of a real redis-server, or "" where there is none. */
    redisServerBin: string;
    /** Folder of the programs of a real Postgres, or "" where there is none. */
    postgresBin: string;
  }
}

/** Vitest's hook. With `REQUIRE_ALL=1` a missing server ends the run. */
export default function setup(project: TestProject): void {
  project.provide("redisServerBin", foundOr(NO_REDIS, ensureRedisServer()));
  project.provide("postgresBin", foundOr(NO_POSTGRES, ensurePostgres()));
}

function foundOr(line: string, path: string | undefined): string {
  if (path !== undefined) return path;
  if (process.env["REQUIRE_ALL"] === "1") throw new Error(line);
  process.stderr.write(`${line}\n`);
  return "";
}
