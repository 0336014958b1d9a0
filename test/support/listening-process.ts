/** Servers of tests that are processes of their own and print where they listen. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { until } from "./poll.ts";
import { guard } from "./server-process.ts";

export interface ListeningProcess {
  /** What it has printed that it listens on. */
  readonly url: string;
  /** What it has printed on stdout so far. */
  readonly output: () => string;
  /** What it has printed on stderr so far. */
  readonly complaints: () => string;
  readonly signal: (name: NodeJS.Signals) => void;
  /** Its exit code, once it has ended. */
  readonly exited: Promise<number | null>;
  /** SIGKILL, paused or not, and waits until it is gone. */
  readonly kill: () => Promise<void>;
}

/** Runs a script on this Node; resolves once it prints `listening on …`, within 15 s by default. */
export async function startListening(
  script: string,
  args: readonly string[],
  withinMs = 15_000,
): Promise<ListeningProcess> {
  const child = spawn(process.execPath, [script, ...args]);
  const exited = once(child, "exit").then(([code]) => code as number | null);
  guard(child);
  let output = "";
  let complaints = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const found = await until(
    () => {
      if (child.exitCode !== null) throw new Error(`The server ended: ${complaints}`);
      return /listening on (\S+)/.exec(output);
    },
    { what: "the server to listen", withinMs },
  );
  return {
    url: String(found[1]),
    output: () => output,
    complaints: () => complaints,
    signal: (name) => void child.kill(name),
    exited,
    kill: async () => {
      child.kill("SIGCONT");
      child.kill("SIGKILL");
      await exited;
    },
  };
}
