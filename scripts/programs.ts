// How the scripts run and install other programs: what ensure-redis.ts and ensure-postgres.ts
// share. Which program, and from where, is theirs to say.

import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { delimiter } from "node:path";

// With RUNLEVEL=1 Debian's packages start no server, and no cluster, of their own: nobody asked.
const ENVIRONMENT = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };

/** Runs a command to its end, for `timeoutMs` at the most. */
export function run(
  command: string,
  args: readonly string[],
  timeoutMs: number,
): SpawnSyncReturns<string> {
  return spawnSync(command, args, { encoding: "utf8", timeout: timeoutMs, env: ENVIRONMENT });
}

/** Whether it ran, and ended well. */
export function succeeds(result: SpawnSyncReturns<string>): boolean {
  return result.error === undefined && result.status === 0;
}

/** The last line of its complaints. */
export function lastLine({ stderr }: SpawnSyncReturns<string>, otherwise: string): string {
  return stderr?.trim().split("\n").at(-1) ?? otherwise;
}

/** Tells whoever watches what takes its time. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** The folders of PATH. */
export function folders(): readonly string[] {
  return (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
}

/** Installs a Debian package, where this is root's machine and has apt-get; whether it is there. */
export function installByApt(name: string): boolean {
  if (process.getuid?.() !== 0 || !succeeds(run("apt-get", ["--version"], 10_000))) return false;
  say(`no ${name} on this machine: installing it with apt-get`);
  const install = ["install", "-y", "--no-install-recommends", name];
  if (succeeds(run("apt-get", install, 300_000))) return true;
  run("apt-get", ["update"], 300_000);
  const second = run("apt-get", install, 300_000);
  if (!succeeds(second)) say(lastLine(second, "apt-get failed"));
  return succeeds(second);
}
