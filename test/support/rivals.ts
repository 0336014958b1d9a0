/**
 * Rivals: several actors that send random commands on one record through stores of their own at the
 * same time, and what each of them saw.
 */
import { setTimeout as delay } from "node:timers/promises";
import { diceOf, sendCommand } from "../../src/conformance/histories.ts";
import type { Dice } from "../../src/conformance/histories.ts";
import type {
  Command,
  Fingerprint,
  OnAbandoned,
  OwnerToken,
  RecordId,
} from "../../src/machine/record.ts";
import type { Store } from "../../src/stores/store.ts";
import type { Operation } from "./linearizability.ts";

const leaseMs = 40;
const retentionMs = 60_000;

export interface Rivalry {
  /** One store for each actor: connections, or processes, of their own. */
  readonly stores: readonly Store[];
  readonly seed: number;
  /** How many commands each actor sends. Default 6. */
  readonly commands?: number;
  /** A command without a reply by then counts as lost, in ms. Default 250. */
  readonly limitMs?: number;
}

/** Lets the actors loose on one fresh record; resolves to the history of their commands. */
export async function compete(rivalry: Rivalry): Promise<readonly Operation[]> {
  const { stores, seed, commands = 6, limitMs = 250 } = rivalry;
  const id = `rivals-${seed}` as RecordId;
  const history: Operation[] = [];
  const actors = stores.map(async (store, actor) => {
    const dice = diceOf(seed * 100 + actor);
    for (let index = 0; index < commands; index += 1) {
      const command = commandOf(dice, `${actor}` as OwnerToken);
      const calledAtMs = Date.now();
      const reply = await replyOf(sendCommand(store, id, command), limitMs);
      const returnedAtMs = reply === undefined ? Infinity : Date.now();
      const seen = reply === undefined ? {} : { reply };
      history.push({ actor, command, calledAtMs, returnedAtMs, ...seen });
      await delay(dice.pick([0, 0, 1, 5, 45]));
    }
  });
  await Promise.all(actors);
  return history.toSorted((a, b) => a.calledAtMs - b.calledAtMs);
}

type Reply = Readonly<Record<string, unknown>>;

// Rejected or late, it may have happened all the same.
async function replyOf(call: Promise<unknown>, limitMs: number): Promise<Reply | undefined> {
  const abort = new AbortController();
  const late = delay(limitMs, undefined, { signal: abort.signal }).catch(() => undefined);
  try {
    return (await Promise.race([call, late])) as Reply | undefined;
  } catch {
    return undefined;
  } finally {
    abort.abort();
  }
}

function commandOf(dice: Dice, owner: OwnerToken): Command {
  const claim = {
    kind: "claim",
    owner,
    fingerprint: dice.pick(["f", "f", "f", "g"]) as Fingerprint,
    operation: "POST /r",
    leaseMs,
    retentionMs,
    onAbandoned: dice.pick<OnAbandoned>(["takeover", "takeover", "takeover", "in-doubt"]),
  } as const;
  const result = Buffer.from(owner);
  return dice.pick<Command>([
    claim,
    claim,
    claim,
    { kind: "renew", owner, leaseMs },
    { kind: "step", owner, name: "s", result },
    { kind: "commit", owner },
    { kind: "complete", owner, result, retentionMs },
    { kind: "release", owner },
    { kind: "release", owner },
    {
      kind: "resolve",
      attempt: dice.pick([1, 2, 3, 4]),
      by: "ops",
      note: "n",
      outcome: { kind: "not-executed" },
    },
  ]);
}
