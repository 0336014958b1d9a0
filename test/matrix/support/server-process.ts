/** Servers of other runtimes as processes: started, waited for by the line they print, ended. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { until } from "../../support/poll.ts";

export interface ProcessOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Finds the port in what it prints; default: after `127.0.0.1:`. */
  readonly port?: RegExp;
}

export interface ServerProcess {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Starts a server and resolves once it has told its port; throws with its output if it ends. */
export async function startServer(
  command: string,
  args: readonly string[],
  { cwd, env, port = /127\.0\.0\.1:(\d+)/ }: ProcessOptions,
): Promise<ServerProcess> {
  // In a group of its own: a package's command may be a wrapper around the real one.
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, detached: true });
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const exited = once(child, "exit");
  const end = (): void => {
    if (child.pid !== undefined && !hasEnded()) process.kill(-child.pid, "SIGKILL");
  };
  process.once("exit", end);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => void (output = (output + chunk.toString()).slice(-8000)));
  }
  const close = async (): Promise<void> => {
    process.off("exit", end);
    if (hasEnded()) return;
    end();
    await exited;
  };
  try {
    const what = `${command} to listen`;
    await until(() => port.test(output) || hasEnded(), { withinMs: 30_000, what });
    const [, told] = port.exec(output) ?? [];
    if (told === undefined) throw new Error("It ended without telling its port.");
    return { url: `http://127.0.0.1:${told}`, close };
  } catch (cause) {
    await close();
    throw new Error(`${command} did not start:\n${output}`, { cause });
  }
}
