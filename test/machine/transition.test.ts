/**
 * The state machine under random histories of several owners and a moving clock, against its
 * invariants.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { brokenInvariants } from "../../src/machine/invariants.ts";
import type { Command, Fingerprint, OwnerToken, StoredRecord } from "../../src/machine/record.ts";
import { transition } from "../../src/machine/transition.ts";

const owner = fc.constantFrom("a", "b", "c").map((o) => o as OwnerToken);
const fingerprint = fc.constantFrom("f", "g").map((f) => f as Fingerprint);
const result = fc.uint8Array({ maxLength: 8 });
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    kind: fc.constant("claim" as const),
    owner,
    fingerprint,
    operation: fc.constant("POST /r"),
    leaseMs: fc.constantFrom(10, 100),
    retentionMs: fc.constantFrom(50, 500),
    onAbandoned: fc.constantFrom("takeover" as const, "in-doubt" as const),
  }),
  fc.record({ kind: fc.constant("renew" as const), owner, leaseMs: fc.constantFrom(10, 100) }),
  fc.record({ kind: fc.constant("commit" as const), owner }),
  fc.record({
    kind: fc.constant("step" as const),
    owner,
    name: fc.constantFrom("one", "__proto__"),
    result,
  }),
  fc.record({
    kind: fc.constant("complete" as const),
    owner,
    result,
    retentionMs: fc.constantFrom(50, 500),
  }),
  fc.record({ kind: fc.constant("release" as const), owner }),
  fc.record({
    kind: fc.constant("resolve" as const),
    attempt: fc.constantFrom(1, 1, 2, 3),
    by: fc.constant("ops"),
    note: fc.string({ maxLength: 4 }),
    outcome: fc.oneof(
      fc.constant({ kind: "not-executed" as const }),
      fc.record({
        kind: fc.constantFrom("completed" as const, "failed" as const),
        result,
        retentionMs: fc.constant(50),
      }),
    ),
  }),
);
const history = fc.array(fc.tuple(command, fc.constantFrom(0, 1, 9, 11, 99, 101, 600)), {
  maxLength: 40,
});
const claimOf = (who: string, over: Partial<Extract<Command, { kind: "claim" }>> = {}) => ({
  kind: "claim" as const,
  owner: who as OwnerToken,
  fingerprint: "f" as Fingerprint,
  operation: "POST /r",
  leaseMs: 100,
  retentionMs: 1000,
  onAbandoned: "takeover" as const,
  ...over,
});

describe("transition", () => {
  it("keeps every invariant in every history", () => {
    fc.assert(
      fc.property(history, (steps) => {
        let record: StoredRecord | undefined;
        let nowMs = 1_000_000;
        for (const [step, passMs] of steps) {
          nowMs += passMs;
          const { next } = transition(record, step, nowMs);
          expect(brokenInvariants(record, next, nowMs)).toEqual([]);
          record = next;
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("answers every command the same when it is resent at once (reliability: lost replies)", () => {
    fc.assert(
      fc.property(history, command, (steps, last) => {
        let record: StoredRecord | undefined;
        let nowMs = 1_000_000;
        for (const [step, passMs] of steps)
          record = transition(record, step, (nowMs += passMs)).next;
        if (last.kind === "resolve") return;
        const first = transition(record, last, nowMs);
        const again = transition(first.next, last, nowMs);
        expect(again.reply).toEqual(first.reply);
        expect(again.next).toEqual(first.next);
      }),
      { numRuns: 3000 },
    );
  });

  it("reports a mismatch before a conflict (B-56)", () => {
    const { next } = transition(undefined, claimOf("a"), 1);
    const other = transition(next, claimOf("b", { fingerprint: "g" as Fingerprint }), 2);
    expect(other.reply).toEqual({ kind: "mismatch" });
  });

  it("refuses a late owner once another has claimed, and accepts it before (B-83, B-85)", () => {
    const a = transition(undefined, claimOf("a"), 0).next;
    const completion = {
      kind: "complete" as const,
      owner: "a" as OwnerToken,
      result: new Uint8Array([1]),
      retentionMs: 1000,
    };
    expect(transition(a, completion, 500).reply).toEqual({ kind: "recorded" });
    const b = transition(a, claimOf("b"), 100);
    expect(b.reply).toMatchObject({ kind: "claimed", attempt: 2, takeover: true });
    expect(transition(b.next, completion, 150).reply).toEqual({ kind: "lease-lost" });
  });

  it("moves a committed record to in doubt instead of a takeover (B-75)", () => {
    const a = transition(undefined, claimOf("a"), 0).next;
    const committed = transition(a, { kind: "commit", owner: "a" as OwnerToken }, 1).next;
    const doubted = transition(committed, claimOf("b"), 200);
    expect(doubted.reply.kind).toBe("in-doubt");
    const release = transition(doubted.next, { kind: "release", owner: "a" as OwnerToken }, 201);
    expect(release.reply.kind).toBe("in-doubt");
  });

  it("counts a lease from now when the server's clock jumped back", () => {
    const a = transition(undefined, claimOf("a", { retentionMs: 1_000_000 }), 500_000).next;
    const seen = transition(a, claimOf("b"), 1000);
    expect(seen.reply).toMatchObject({ kind: "in-progress", retryAfterMs: 100 });
    expect(transition(seen.next, claimOf("b"), 1100).reply.kind).toBe("claimed");
  });
});
