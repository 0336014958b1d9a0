/**
 * The phases of a round, one after the other: together, a retry after completion, a burst of
 * retries, the same key with another body. How requests travel and what they prove live elsewhere.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { fire } from "./fire.ts";
import type { Shot } from "./fire.ts";
import { isSuccess, judge, needsControl } from "./judge.ts";
import type { Judgement } from "./judge.ts";
import type { Observation, Phase } from "./observation.ts";

/** What to race, checked and complete. */
export interface RaceSettings {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Buffer | undefined;
  /** `undefined` where the method carries no body. */
  readonly otherBody: Buffer | undefined;
  /** A fresh key for every round when `undefined`. */
  readonly key: string | undefined;
  readonly count: number;
  readonly rounds: number;
  readonly timeoutMs: number;
}

/** One round: its key, what was seen, what it proves. */
export interface Round {
  readonly key: string;
  readonly observations: readonly Observation[];
  readonly judgement: Judgement;
}

/** Told whenever something was sent or answered. */
export type OnProgress = (step: {
  readonly round: number;
  readonly phase: Phase;
  readonly answered: number;
  readonly of: number;
}) => void;

const burstCount = 20;
const pauseMs = 250;
// Long enough for a first attempt that still finishes, once somebody has an answer already.
const settledPollMs = 5000;

/** Runs all rounds, one after the other. Never rejects; every wait is bounded. */
export async function race(
  settings: RaceSettings,
  onProgress: OnProgress,
): Promise<readonly Round[]> {
  const rounds: Round[] = [];
  for (let round = 1; round <= settings.rounds; round += 1) {
    const key = keyOf(settings.key, round);
    const observations = await runRound(settings, { key, round, onProgress });
    rounds.push({ key, observations, judgement: judge(observations) });
  }
  return rounds;
}

interface RoundContext {
  readonly key: string;
  readonly round: number;
  readonly onProgress: OnProgress;
}

type Send = (phase: Phase, count: number) => Promise<readonly Observation[]>;

async function runRound(
  settings: RaceSettings,
  { key, round, onProgress }: RoundContext,
): Promise<readonly Observation[]> {
  const originMs = performance.now();
  const seen: Observation[] = [];
  const send: Send = async (phase, count) => {
    let answered = 0;
    onProgress({ round, phase, answered, of: count });
    const found = await fire(shotOf(settings, { key, phase, originMs }), count, () => {
      answered += 1;
      onProgress({ round, phase, answered, of: count });
    });
    seen.push(...found);
    return found;
  };
  const raced = await send("together", settings.count);
  if (raced.every((one) => one.status === undefined)) return seen;
  await retryUntilSettled(send, settings.timeoutMs, raced.some(isSuccess));
  // Nothing was completed, so there is nothing that could be replayed.
  if (!seen.some(isSuccess)) return seen;
  await send("burst", burstCount);
  if (settings.otherBody !== undefined) await send("other-body", 1);
  if (needsControl(seen)) await send("control", 1);
  return seen;
}

/** One retry, and another after each 409, for as long as the first may still be at work. */
async function retryUntilSettled(send: Send, timeoutMs: number, settled: boolean): Promise<void> {
  const budgetMs = settled ? Math.min(timeoutMs, settledPollMs) : timeoutMs;
  const deadline = performance.now() + budgetMs;
  for (;;) {
    const [retry] = await send("retry", 1);
    if (retry?.status !== 409) return;
    const waitMs = retryAfterMs(retry.headers["retry-after"]);
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return;
    await delay(Math.min(waitMs, leftMs));
  }
}

/** Seconds or an HTTP date become ms; anything else a short pause. */
function retryAfterMs(text: string | undefined): number {
  if (text === undefined) return pauseMs;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) && ms > pauseMs ? ms : pauseMs;
}

interface ShotContext {
  readonly key: string;
  readonly phase: Phase;
  readonly originMs: number;
}

function shotOf(settings: RaceSettings, { key, phase, originMs }: ShotContext): Shot {
  const { url, method, timeoutMs } = settings;
  const isOther = phase === "other-body";
  const body = isOther ? settings.otherBody : settings.body;
  const sent = phase === "control" ? randomUUID() : key;
  const headers: Record<string, readonly string[]> = {
    ...settings.headers,
    "idempotency-key": [sent],
  };
  // A body sent where the race had none still needs its media type.
  if (body !== undefined && headers["content-type"] === undefined) {
    headers["content-type"] = [isJson(body) ? "application/json" : "text/plain; charset=utf-8"];
  }
  return { phase, url, method, headers, body, timeoutMs, originMs };
}

function isJson(body: Buffer): boolean {
  try {
    JSON.parse(body.toString());
    return true;
  } catch {
    return false;
  }
}

function keyOf(key: string | undefined, round: number): string {
  if (key === undefined) return randomUUID();
  return round === 1 ? key : `${key}-${round}`;
}
