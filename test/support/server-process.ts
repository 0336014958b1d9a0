// What the servers of tests have in common: a child process that is remembered, so that a worker
// that ends early leaves none behind, and a free loopback port.

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { until } from "./poll.ts";

const STOP_MS = 5_000;
const ATTEMPTS = 5;
const running = new Set<ChildProcess>();

/** Remembers a child by its handle: it dies with this process. */
export function guard(child: ChildProcess): void {
  if (running.size === 0) {
    process.once("exit", killAll);
    process.once("SIGTERM", endByTerm);
  }
  running.add(child);
  child.once("exit", () => {
    running.delete(child);
    if (running.size > 0) return;
    process.off("exit", killAll);
    process.off("SIGTERM", endByTerm);
  });
}

function killAll(): void {
  for (const child of running) child.kill("SIGKILL");
}

function endByTerm(): void {
  killAll();
  process.exit(143);
}

/** Ends a child by a signal; SIGKILL when that takes too long. */
export async function end(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (hasEnded(child)) return;
  child.kill("SIGCONT");
  child.kill(signal);
  await until(() => hasEnded(child), { withinMs: STOP_MS }).catch(() => slay(child));
}

/** SIGKILL, and waits until it is gone. */
export async function slay(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

export function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** Launches on a free port; tries another where somebody took it before the server's bind. */
export async function onFreePort<T>(launch: (port: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await launch(await freePort());
    } catch (error) {
      if (attempt === ATTEMPTS || !String(error).includes("in use")) throw error;
    }
  }
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  const closed = once(probe, "close");
  probe.close();
  await closed;
  return port;
}
