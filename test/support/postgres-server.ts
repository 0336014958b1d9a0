// Real Postgres servers for tests: each on an ephemeral loopback port and in a data directory of
// its own, copied from one that initdb has made once. How the programs are found:
// scripts/ensure-postgres.ts. Postgres refuses to run as root: then it runs as another user.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { hash, randomUUID } from "node:crypto";
import {
  chownSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { inject } from "vitest";
import { until } from "./poll.ts";
import { end, guard, hasEnded, onFreePort, slay } from "./server-process.ts";

/** What a test may choose about its server. */
export interface PostgresOptions {
  /** The folder of its programs. Default: the one the global setup found. */
  readonly bin?: string;
  /** Settings, such as `{ fsync: "on" }`; they beat the defaults. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Starts a hot standby: it can be read, but not written. */
  readonly standby?: boolean;
  /** A data directory to copy, where it is not a new one. */
  readonly data?: string;
  /** A command that runs the server, such as one that traces it. */
  readonly under?: readonly string[];
}

/** One running server; its superuser is `postgres`, without a password. */
export interface PostgresProcess {
  /** `postgres://postgres@127.0.0.1:<port>/postgres`. */
  readonly url: string;
  readonly port: number;
  /** Its data directory. */
  readonly data: string;
  /** Stops it at once and deletes its data. */
  stop(): Promise<void>;
  /** Stops it at once, as in a crash; the data stay for `restart()`. */
  crash(): Promise<void>;
  /** Starts it again on the same port and data, after a crash. */
  restart(): Promise<void>;
}

const READY_MS = 20_000;
const CACHE = resolve(import.meta.dirname, "../../node_modules/.cache/latchkey");
const DEFAULTS = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  fsync: "off",
  shared_buffers: "32MB",
  max_connections: "100",
  lc_messages: "C",
} as const;

/** Starts a server and resolves once it accepts connections; throws with its log if it does not. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresProcess> {
  const bin = options.bin ?? inject("postgresBin");
  if (bin === "") throw new Error("No Postgres was found. Install it or set POSTGRES_BIN.");
  const data = newFolder();
  cpSync(options.data ?? templateOf(bin), data, { recursive: true });
  rmSync(join(data, "postmaster.pid"), { force: true }); // of a copied server that still runs
  if (options.standby === true) writeFileSync(join(data, "standby.signal"), "");
  give(data);
  const settings = { ...DEFAULTS, ...options.settings };
  const command = [...(options.under ?? []), join(bin, "postgres")];
  const start = (port: number) => launch(command, data, { ...settings, port });
  let { child, port } = await onFreePort(async (free) => {
    return { child: await start(free), port: free };
  }).catch((error: unknown) => {
    rmSync(data, { recursive: true, force: true });
    throw error;
  });
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    port,
    data,
    async stop() {
      await end(child, "SIGQUIT");
      rmSync(data, { recursive: true, force: true });
    },
    crash: () => end(child, "SIGQUIT"),
    async restart() {
      await end(child, "SIGQUIT");
      child = await start(port);
    },
  };
}

async function launch(
  [program = "", ...before]: readonly string[],
  data: string,
  settings: Readonly<Record<string, string | number>>,
): Promise<ChildProcess> {
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = spawn(program, [...before, "-D", data, ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
    cwd: data,
    ...serverUser(),
  });
  let log = "";
  child.stderr.on("data", (bytes: Buffer) => (log = (log + bytes.toString()).slice(-4_000)));
  child.on("error", (error) => void (log += error.message));
  guard(child);
  const ready = (): boolean => /ready to accept (read-only )?connections/.test(log);
  try {
    await until(() => hasEnded(child) || ready(), { withinMs: READY_MS });
  } catch (cause) {
    await slay(child);
    throw new Error(`Postgres did not get ready:\n${log}`, { cause });
  }
  if (hasEnded(child)) throw new Error(`Postgres ended at start:\n${log}`);
  return child;
}

// Made once for each set of programs, then kept. Whoever comes second throws its own away.
function templateOf(bin: string): string {
  const version = spawnSync(join(bin, "postgres"), ["--version"]).stdout.toString();
  const template = join(CACHE, `pgdata-${hash("sha1", bin + version).slice(0, 12)}`);
  if (existsSync(template)) return template;
  const made = newFolder();
  give(made);
  const flags = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"];
  const { status, stderr } = spawnSync(
    join(bin, "initdb"),
    ["-D", made, ...flags, "--no-sync", "--wal-segsize=1"],
    { cwd: made, ...serverUser() },
  );
  if (status !== 0) throw new Error(`initdb failed:\n${stderr.toString()}`);
  mkdirSync(CACHE, { recursive: true });
  const copy = `${template}-${randomUUID()}`;
  cpSync(made, copy, { recursive: true });
  rmSync(made, { recursive: true });
  try {
    renameSync(copy, template);
  } catch (error) {
    rmSync(copy, { recursive: true });
    if (!existsSync(template)) throw error;
  }
  return template;
}

function newFolder(): string {
  return mkdtempSync(join(tmpdir(), "latchkey-postgres-"));
}

interface User {
  readonly uid?: number;
  readonly gid?: number;
}

/** Whom a server that refuses to run as root runs as. */
export function serverUser(): User {
  if (process.getuid?.() !== 0) return {};
  for (const name of ["postgres", "nobody"]) {
    const { status, stdout } = spawnSync("id", ["-u", name]);
    const group = spawnSync("id", ["-g", name]).stdout;
    if (status === 0) return { uid: Number(stdout), gid: Number(group) };
  }
  throw new Error("Postgres does not run as root, and there is no user postgres or nobody.");
}

function give(folder: string): void {
  const { uid, gid } = serverUser();
  if (uid === undefined || gid === undefined) return;
  for (const path of ["", ...globSync("**", { cwd: folder })]) {
    chownSync(join(folder, path), uid, gid);
  }
}
