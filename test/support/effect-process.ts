/** Starts, kills and pauses servers with effects (`effect-server.ts`), and reads their books. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { until } from "./poll.ts";

/** How the point of no return is guarded: not, by `commit()`, or by never taking over. */
export type Regime = "takeover" | "commit" | "never-take-over";

export interface EffectOptions {
  readonly store: string;
  /** The books: one line for each effect. */
  readonly file: string;
  readonly regime: Regime;
  /** Longest pause between two steps of the handler, in ms. */
  readonly pauseMs: number;
}

export interface EffectProcess {
  readonly post: (key: string) => Promise<Response>;
  readonly signal: (name: NodeJS.Signals) => void;
  /** How often a handler has come to a pause: before `commit()`, before the effect, behind it. */
  readonly pauses: () => number;
  /** SIGKILL, and waits until it is gone. */
  readonly kill: () => Promise<void>;
}

const script = new URL("effect-server.ts", import.meta.url).pathname;

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts one and resolves once it listens. */
export async function startEffects(options: EffectOptions): Promise<EffectProcess> {
  const { store, file, regime, pauseMs } = options;
  const child = spawn(process.execPath, [script, store, file, regime, String(pauseMs)]);
  const exited = once(child, "exit");
  running.add(child);
  child.once("exit", () => running.delete(child));
  let output = "";
  let complaints = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const found = await until(
    () => {
      if (child.exitCode !== null) throw new Error(`The server ended: ${complaints}`);
      return /listening on (\S+)/.exec(output);
    },
    { what: "the server to listen", withinMs: 20_000 },
  );
  const url = String(found[1]);
  return {
    post: (key) => {
      const headers = { "idempotency-key": key };
      return fetch(url, { method: "POST", headers, signal: AbortSignal.timeout(3000) });
    },
    pauses: () => output.split("lingering").length - 1,
    signal: (name) => void child.kill(name),
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

export interface Effect {
  readonly key: string;
  readonly attempt: number;
  readonly fence: number;
}

/** What is in the books. */
export function effectsIn(file: string): readonly Effect[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").trim().split("\n").filter(Boolean);
  return lines.map((line) => {
    const [key = "", attempt, fence] = line.split(" ");
    return { key, attempt: Number(attempt), fence: Number(fence) };
  });
}
