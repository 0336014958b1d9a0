/**
 * A history of faults: three servers with effects on one store, callers that retry every key until
 * it has an answer, and somebody who kills and pauses the servers meanwhile.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { diceOf } from "../../src/conformance/histories.ts";
import type { Dice } from "../../src/conformance/histories.ts";
import { effectsIn, startEffects, unrecordedIn } from "./effect-process.ts";
import type { Effect, EffectOptions, EffectProcess } from "./effect-process.ts";

const leaseMs = 500;

export interface FaultOptions extends EffectOptions {
  readonly seed: number;
  readonly keys: number;
  /** Something more to break, now and then. */
  readonly alsoBreak?: () => Promise<void>;
}

/** What became of one key. */
export interface Fate {
  readonly key: string;
  /** The bodies of all answers with 200. */
  readonly answers: readonly string[];
  /** Those among them that were recorded and replayed. */
  readonly replays: readonly string[];
  /** The code of the last refusal, where no answer came in time: `outcome-unknown` is final. */
  readonly refusal: string | undefined;
  readonly effects: readonly Effect[];
  /** Whether an answer left while the store failed to record it. */
  readonly isUnrecorded: boolean;
}

/** Runs one history; every key was asked for by two callers at a time, and once more at the end. */
export async function runFaults(options: FaultOptions): Promise<readonly Fate[]> {
  const { seed, keys, file } = options;
  const dice = diceOf(seed);
  const servers = await Promise.all([0, 1, 2].map(() => startEffects(options)));
  const abort = new AbortController();
  const chaos = wreak({ ...options, servers, dice, signal: abort.signal });
  const names = Array.from({ length: keys }, (_, index) => `key-${seed}-${index}`);
  const asked: (readonly [string, Outcome])[] = [];
  for (let start = 0; start < names.length; start += 8) {
    const batch = names.slice(start, start + 8).flatMap((name) => [name, name]);
    asked.push(
      ...(await Promise.all(batch.map(async (name) => [name, await ask(servers, name)] as const))),
    );
  }
  abort.abort();
  await chaos;
  // At rest: whatever was lost on the way must have an answer now (I5).
  for (const name of names) asked.push([name, await ask(servers, name)]);
  const effects = effectsIn(file);
  const unrecorded = unrecordedIn(file);
  await Promise.all(servers.map((server) => server.kill()));
  return names.map((key) => {
    const mine = asked.filter(([name]) => name === key).map(([, outcome]) => outcome);
    return {
      key,
      answers: mine.flatMap(({ body }) => body ?? []),
      replays: mine.flatMap(({ body, isReplay }) => (isReplay === true ? (body ?? []) : [])),
      refusal: mine.at(-1)?.refusal,
      effects: effects.filter((effect) => effect.key === key),
      isUnrecorded: unrecorded.has(key),
    };
  });
}

interface Outcome {
  readonly body?: string;
  readonly isReplay?: boolean;
  readonly refusal?: string;
}

/** Retries at whichever server until there is an answer, or a refusal that is final. */
async function ask(servers: readonly EffectProcess[], key: string): Promise<Outcome> {
  const untilMs = performance.now() + leaseMs * 30;
  let refusal = "none";
  for (let turn = key.length; performance.now() < untilMs; turn += 1) {
    const server = servers[turn % servers.length];
    const outcome = await server?.post(key).then(read, () => undefined);
    if (outcome?.body !== undefined) return outcome;
    refusal = outcome?.refusal ?? "unreachable";
    if (refusal === "outcome-unknown") return { refusal };
    await sleep(20 + 10 * (turn % 5));
  }
  return { refusal };
}

async function read(response: Response): Promise<Outcome> {
  if (response.status === 200) {
    return { body: await response.text(), isReplay: response.headers.has("idempotency-replayed") };
  }
  if (response.status === 500) return { refusal: "handler" };
  const { code } = (await response.json()) as { readonly code: string };
  return { refusal: code };
}

interface Chaos extends FaultOptions {
  /** Replaced in place when one is killed. */
  readonly servers: EffectProcess[];
  readonly dice: Dice;
  readonly signal: AbortSignal;
}

async function wreak(chaos: Chaos): Promise<void> {
  const { servers, dice, signal, alsoBreak } = chaos;
  while (!signal.aborted) {
    await sleep(dice.pick([30, 80, 150]));
    const index = dice.pick([0, 1, 2]);
    const victim = servers[index];
    const fault = dice.pick(["kill", "kill", "pause", "pause", "store"]);
    if (victim === undefined) continue;
    if (fault === "kill") {
      await victim.kill();
      servers[index] = await startEffects(chaos);
    } else if (fault === "pause") {
      victim.signal("SIGSTOP");
      await sleep(leaseMs * dice.pick([0.5, 1.5, 5]));
      victim.signal("SIGCONT");
    } else {
      await alsoBreak?.();
    }
  }
}
