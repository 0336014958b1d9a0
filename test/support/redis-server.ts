// Real redis-server processes for tests: each on an ephemeral loopback port and in a directory of
// its own, to be killed, paused and restarted at will. How the binary is found: scripts/ensure-
// redis.ts.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { until } from "./poll.ts";
import { end, guard, hasEnded, onFreePort, slay } from "./server-process.ts";

/** What a test may choose about its server. */
export interface RedisOptions {
  /** Path of redis-server. Default: the one the global setup found. */
  readonly bin?: string;
  /** Further command line settings, such as `["--appendonly", "yes"]`; they beat the defaults. */
  readonly args?: readonly string[];
  /** Makes it a Sentinel, configured by these lines. */
  readonly sentinel?: readonly string[];
}

/** One running server. */
export interface RedisProcess {
  /** `redis://127.0.0.1:<port>`. */
  readonly url: string;
  readonly port: number;
  /** Process id of the server that runs now, or of the last one. */
  readonly pid: number;
  /** Ends it in order (SIGTERM) and deletes its directory. */
  stop(): Promise<void>;
  /** SIGKILL; the directory stays for `restart()`. */
  kill(): Promise<void>;
  /** SIGSTOP: accepts connections, answers nothing. */
  pause(): void;
  /** SIGCONT after `pause()`. */
  resume(): void;
  /** Starts it again on the same port and directory, ending the present one first if it runs. */
  restart(): Promise<void>;
}

const READY_MS = 10_000;
// Durable and never evicting, as `check()` wants a server; fsync would only slow the tests down.
const DURABLE = ["--appendonly", "yes", "--appendfsync", "no"] as const;
const DEFAULTS = ["--bind", "127.0.0.1", "--save", "", ...DURABLE] as const;

/** Starts a server and resolves once it answers PING. Throws with its output if it never does. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisProcess> {
  const bin = options.bin ?? inject("redisServerBin");
  if (bin === "") throw new Error("No redis-server was found. Install it or set REDIS_SERVER_BIN.");
  const dir = await mkdtemp(join(tmpdir(), "latchkey-redis-"));
  const args = await argumentsOf(options, dir);
  let { child, port } = await onFreePort(async (free) => {
    return { child: await launch(bin, [...args, "--port", String(free)], free), port: free };
  });
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get pid() {
      return child.pid ?? 0;
    },
    async stop() {
      await end(child);
      await rm(dir, { recursive: true, force: true });
    },
    kill: () => slay(child),
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    async restart() {
      await end(child);
      child = await launch(bin, [...args, "--port", String(port)], port);
    },
  };
}

async function argumentsOf(
  { args = [], sentinel }: RedisOptions,
  dir: string,
): Promise<readonly string[]> {
  if (sentinel === undefined) return [...DEFAULTS, "--dir", dir, ...args];
  const file = join(dir, "sentinel.conf"); // a Sentinel keeps its memory there
  await writeFile(file, sentinel.join("\n"));
  return [file, "--sentinel", "--bind", "127.0.0.1", "--dir", dir, ...args];
}

async function launch(bin: string, args: readonly string[], port: number): Promise<ChildProcess> {
  const child = spawn(bin, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const keep = (bytes: Buffer): void => void (output = (output + bytes.toString()).slice(-4_000));
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.on("error", (error) => void (output += error.message));
  guard(child);
  try {
    await until(() => hasEnded(child) || answersPing(port), { withinMs: READY_MS });
  } catch (cause) {
    await slay(child);
    throw new Error(`redis-server did not answer PING:\n${output}`, { cause });
  }
  if (hasEnded(child)) throw new Error(`redis-server ended at start:\n${output}`);
  return child;
}

async function answersPing(port: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port, timeout: 500 });
  socket.on("timeout", () => socket.destroy(new Error("no answer to PING")));
  try {
    socket.write("PING\r\n");
    const [reply] = (await once(socket, "data")) as [Buffer];
    // A server with a password is ready too; one that is still loading its file is not.
    return /^(\+PONG|-NOAUTH)/.test(reply.toString("latin1"));
  } finally {
    socket.destroy();
  }
}
