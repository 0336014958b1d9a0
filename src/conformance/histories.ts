/**
 * Random histories: several owners, two fingerprints and passing time, walked through
 * `transition()` and through a store side by side. Every reply and every record must be equal.
 */
import { deepStrictEqual } from "node:assert/strict";
import { brokenInvariants } from "../machine/invariants.ts";
import type {
  Command,
  Fingerprint,
  OnAbandoned,
  OwnerToken,
  RecordId,
  StoredRecord,
} from "../machine/record.ts";
import { seenAt, transition } from "../machine/transition.ts";
import type { Store } from "../stores/store.ts";

/** The clock that the store under test reads. */
export interface Clock {
  readonly nowMs: () => number;
  readonly advance: (ms: number) => void | Promise<void>;
}

/** A repeatable source of choices (mulberry32), so that a printed seed replays its history. */
export interface Dice {
  readonly pick: <T>(from: readonly [T, ...T[]]) => T;
}

export function diceOf(seed: number): Dice {
  let state = seed;
  const next = (): number => {
    state = Math.trunc(state + 0x6d2b79f5);
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = Math.trunc(mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return { pick: (from) => from[Math.floor(next() * from.length)] ?? from[0] };
}

/** Walks one history of `steps` commands on one record; throws at the first difference. */
export async function walkHistory(
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  seed: number,
  steps = 30,
): Promise<void> {
  const dice = diceOf(seed);
  const id = `history-${seed}` as RecordId;
  let record: StoredRecord | undefined;
  for (let step = 0; step < steps; step += 1) {
    await clock.advance(dice.pick([0, 0, 1, 40, 99, 100, 101, 900, -500]));
    const nowMs = clock.nowMs();
    const command = commandOf(dice);
    const modelled = transition(record, command, nowMs);
    const reply = await sendCommand(store, id, command);
    const where = `seed ${seed}, step ${step}, ${command.kind}`;
    deepStrictEqual(reply, modelled.reply, where);
    deepStrictEqual(brokenInvariants(record, modelled.next, nowMs), [], where);
    record = modelled.next;
    deepStrictEqual(await store.get(id), seenAt(record, nowMs), where);
  }
}

const owners = ["a", "b", "c"] as unknown as readonly [OwnerToken, ...OwnerToken[]];
const fingerprints = ["f", "f", "f", "g"] as unknown as readonly [Fingerprint, ...Fingerprint[]];

const executed = ["completed", "failed"] as const;
const signed = { by: "ops", note: "asked the bank: ü" };

function commandOf(dice: Dice): Command {
  const owner = dice.pick(owners);
  const retentionMs = dice.pick([50, 1000]);
  const result = dice.pick([new Uint8Array(0), Uint8Array.of(0, 255), Uint8Array.of(10, 13)]);
  const leaseMs = dice.pick([100, 100, 200]);
  const claim = {
    kind: "claim",
    owner,
    fingerprint: dice.pick(fingerprints),
    operation: "POST /r",
    leaseMs,
    retentionMs,
    onAbandoned: dice.pick<OnAbandoned>(["takeover", "takeover", "in-doubt"]),
  } as const;
  const word = { kind: "resolve", ...signed, attempt: dice.pick([1, 1, 2, 3]) } as const;
  return dice.pick<Command>([
    claim,
    claim,
    claim,
    { kind: "renew", owner, leaseMs },
    { kind: "commit", owner },
    { kind: "step", owner, name: dice.pick(["charge", "__proto__"]), result },
    { kind: "complete", owner, result, retentionMs },
    { kind: "release", owner },
    { ...word, outcome: { kind: "not-executed" } },
    { ...word, outcome: { kind: dice.pick(executed), result, retentionMs } },
  ]);
}

/** Sends a command to a store by its kind. */
export async function sendCommand(store: Store, id: RecordId, command: Command): Promise<unknown> {
  switch (command.kind) {
    case "claim": {
      const { kind: _, ...claim } = command;
      return store.claim(id, claim);
    }
    case "renew":
      return store.renew(id, command.owner, command.leaseMs);
    case "commit":
      return store.commit(id, command.owner);
    case "step": {
      const { kind: _, ...step } = command;
      return store.step(id, step);
    }
    case "complete": {
      const { kind: _, ...completion } = command;
      return store.complete(id, completion);
    }
    case "release":
      return store.release(id, command.owner);
    case "resolve": {
      const { kind: _, ...resolution } = command;
      return store.resolve(id, resolution);
    }
  }
}
