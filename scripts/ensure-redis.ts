// Finds a real redis-server, or gets one: REDIS_SERVER_BIN, PATH, the copy in
// node_modules/.cache, the Docker image, apt-get. Prints its path. Run by `make test` and by the
// tests' global setup.

import { accessSync, constants, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { folders, installByApt, run, say, succeeds } from "./programs.ts";

const IMAGE = "redis:7";
const CACHE = resolve(import.meta.dirname, "../node_modules/.cache/latchkey");

/** The one line a machine gets on which no redis-server is to be had. */
export const NO_REDIS: string =
  "No redis-server: install it (apt-get install redis-server, brew install redis), " +
  "start Docker, or set REDIS_SERVER_BIN.";

/** The path of a redis-server that runs here, installing one if needed and possible. */
export function ensureRedisServer(): string | undefined {
  const chosen = process.env["REDIS_SERVER_BIN"];
  if (chosen) return runs(chosen) ? chosen : undefined;
  return found() ?? fromDocker() ?? (installByApt("redis-server") ? found() : undefined);
}

function found(): string | undefined {
  const candidates = [...folders(), "/usr/local/bin", "/usr/bin", CACHE];
  return candidates.map((folder) => join(folder, "redis-server")).find(runs);
}

// The binary is copied out of the image and run as a plain process: tests stop, pause and
// kill it by its pid, and a container's client cannot pass those signals on.
function fromDocker(): string | undefined {
  if (!succeeds(run("docker", ["info"], 10_000))) return undefined;
  say(`no redis-server on this machine: taking it from the Docker image ${IMAGE}`);
  const created = run("docker", ["create", IMAGE], 300_000);
  if (!succeeds(created)) return undefined;
  const container = created.stdout.trim().split("\n").at(-1) ?? "";
  const target = join(CACHE, "redis-server");
  mkdirSync(CACHE, { recursive: true });
  run("docker", ["cp", `${container}:/usr/local/bin/redis-server`, target], 60_000);
  run("docker", ["rm", "-f", container], 60_000);
  return runs(target) ? target : undefined;
}

function runs(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
  } catch {
    return false;
  }
  return succeeds(run(path, ["--version"], 10_000));
}

if (import.meta.main) {
  const path = ensureRedisServer();
  (path === undefined ? process.stderr : process.stdout).write(`${path ?? NO_REDIS}\n`);
  process.exitCode = path === undefined ? 1 : 0;
}
