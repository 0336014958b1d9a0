/** Starts, kills and pauses servers with effects (`effect-server.ts`), and reads their books. */
import { existsSync, readFileSync } from "node:fs";
import { startListening } from "./listening-process.ts";
import type { ListeningProcess } from "./listening-process.ts";

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

export interface EffectProcess extends ListeningProcess {
  readonly post: (key: string) => Promise<Response>;
  /** How often a handler has come to a pause: before `commit()`, before the effect, behind it. */
  readonly pauses: () => number;
}

const script = new URL("effect-server.ts", import.meta.url).pathname;

/** Starts one and resolves once it listens. */
export async function startEffects(options: EffectOptions): Promise<EffectProcess> {
  const { store, file, regime, pauseMs } = options;
  const listening = await startListening(script, [store, file, regime, String(pauseMs)], 20_000);
  return {
    ...listening,
    post: (key) => {
      const headers = { "idempotency-key": key };
      const signal = AbortSignal.timeout(3000);
      return fetch(listening.url, { method: "POST", headers, signal });
    },
    pauses: () => listening.output().split("lingering").length - 1,
  };
}

export interface Effect {
  readonly key: string;
  readonly attempt: number;
  readonly fence: number;
}

/** Begins the line of an answer whose record failed when it left (B-95). */
export const unrecordedMark = "unrecorded";

/** What is in the books. */
export function effectsIn(file: string): readonly Effect[] {
  const effects = linesOf(file).filter(([first]) => first !== unrecordedMark);
  return effects.map(([key = "", attempt, fence]) => {
    return { key, attempt: Number(attempt), fence: Number(fence) };
  });
}

/** The keys of answers whose record failed when they left. */
export function unrecordedIn(file: string): ReadonlySet<string | undefined> {
  const marked = linesOf(file).filter(([first]) => first === unrecordedMark);
  return new Set(marked.map(([, key]) => key));
}

function linesOf(file: string): readonly string[][] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").trim().split("\n").filter(Boolean);
  return lines.map((line) => line.split(" "));
}
