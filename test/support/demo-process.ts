/** The demo payments API as a process of its own, to be raced, killed and paused. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { until } from "./poll.ts";
import { guard } from "./server-process.ts";

export interface DemoProcess {
  readonly url: string;
  /** What it has printed on stdout so far. */
  readonly output: () => string;
  /** What it has printed on stderr so far. */
  readonly complaints: () => string;
  /** Posts one payment with a key; `path` defaults to the protected route. */
  readonly pay: (key: string, path?: string) => Promise<Response>;
  readonly charges: () => Promise<readonly { readonly receipt: string; readonly key: string }[]>;
  readonly signal: (name: NodeJS.Signals) => void;
  /** Its exit code, once it has ended. */
  readonly exited: Promise<number | null>;
  /** SIGKILL, and waits until it is gone. */
  readonly kill: () => Promise<void>;
}

const command = new URL("../../src/cli/latchkey.ts", import.meta.url).pathname;

/** Starts the demo on a free port and resolves once it listens. Flags as of `latchkey demo`. */
export async function startDemo(flags: Readonly<Record<string, string>>): Promise<DemoProcess> {
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const child = spawn(process.execPath, [command, "demo", "--port", "0", ...args]);
  const exited = once(child, "exit").then(([code]) => code as number | null);
  guard(child);
  let output = "";
  let complaints = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const found = await until(
    () => {
      if (child.exitCode !== null) throw new Error(`The demo ended: ${complaints}`);
      return /listening on (\S+)/.exec(output);
    },
    { what: "the demo to listen", withinMs: 15_000 },
  );
  const url = String(found[1]);
  return {
    url,
    output: () => output,
    complaints: () => complaints,
    pay: (key, path = "/process-payment") =>
      fetch(url + path, {
        method: "POST",
        headers: { "idempotency-key": key, "content-type": "application/json" },
        body: '{"amount":42}',
      }),
    charges: async () => {
      const response = await fetch(`${url}/charges`);
      const { charges } = (await response.json()) as {
        charges: { receipt: string; key: string }[];
      };
      return charges;
    },
    exited,
    signal: (name) => void child.kill(name),
    kill: async () => {
      child.kill("SIGCONT");
      child.kill("SIGKILL");
      await exited;
    },
  };
}
