/**
 * The `latchkey` command: as its users run it, in a process of its own, and the same without one,
 * for tests of many command lines.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { vi } from "vitest";
import { main } from "../../src/cli/main.ts";

const command = new URL("../../src/cli/latchkey.ts", import.meta.url).pathname;

export interface CommandRun {
  readonly code: number;
  readonly output: string;
  /** What it said on stderr, trimmed. */
  readonly complaints: string;
}

/** Runs it to its end, without a terminal; `env` is added to this process's environment. */
export async function runCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CommandRun> {
  const child = spawn(process.execPath, [command, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LATCHKEY_STORE: "", ...env },
  });
  const [output, complaints] = [text(child.stdout), text(child.stderr)];
  const [code] = (await once(child, "close")) as [number];
  return { code, output: await output, complaints: (await complaints).trim() };
}

/** Runs it in this process: one command line at a time. */
export async function runHere(args: readonly string[], store = ""): Promise<CommandRun> {
  let [output, complaints] = ["", ""];
  vi.stubEnv("LATCHKEY_STORE", store);
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
      output += String(chunk);
      return true;
    }),
    vi.spyOn(process.stderr, "write").mockImplementation((chunk) => {
      complaints += String(chunk);
      return true;
    }),
  ];
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    await main([process.execPath, command, ...args]);
    return { code: process.exitCode, output, complaints: complaints.trim() };
  } finally {
    process.exitCode = before;
    for (const spy of spies) spy.mockRestore();
    vi.unstubAllEnvs();
  }
}
