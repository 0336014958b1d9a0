/** The parts of what an engine knows by itself: replay cache, held claims, shared calls. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHeldClaims } from "../../src/engine/local/held-claims.ts";
import { createReplayCache } from "../../src/engine/local/replay-cache.ts";
import { createSharedCalls } from "../../src/engine/local/shared-calls.ts";
import type { Fingerprint, RecordId } from "../../src/machine/record.ts";
import { virtualRuntime } from "../support/virtual-runtime.ts";

describe("the bytes of a replay cache", () => {
  const named = (index: number) => `record-${index}` as RecordId;
  const fingerprint = "f" as Fingerprint;
  const kept = (bytes: number) => ({
    reply: {
      kind: "completed",
      result: new Uint8Array(bytes),
      completedAtMs: 0,
      expiresInMs: 60_000,
    } as const,
    askedAtMs: virtualRuntime().nowMs(),
  });

  it("are bounded, and the least lately used go first, in any order of events", () => {
    const bytes = fc.oneof(fc.constant(null), fc.nat(3000));
    const action = fc.record({ id: fc.nat(5), bytes });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const maxBytes = 5000;
        const cache = createReplayCache(virtualRuntime(), { maxBytes });
        // The model: names by use, the latest last.
        let faults = 0;
        let model: { readonly id: number; readonly bytes: number }[] = [];
        for (const { id, bytes } of actions) {
          const known = model.find((one) => one.id === id);
          if (bytes === null) {
            const found = cache.find(named(id), fingerprint)?.result.length;
            faults += Number(found !== known?.bytes);
            if (known !== undefined) model = [...model.filter((one) => one !== known), known];
            continue;
          }
          cache.keep(named(id), fingerprint, kept(bytes));
          model = model.filter((one) => one.id !== id);
          if (bytes + 512 > maxBytes) continue;
          model.push({ id, bytes });
          while (model.reduce((sum, one) => sum + one.bytes + 512, 0) > maxBytes) model.shift();
        }
        expect(faults).toBe(0);
      }),
      { numRuns: 500 },
    );
  });

  it("are a copy of their own, not a piece of a larger buffer", () => {
    const cache = createReplayCache(virtualRuntime(), { maxBytes: 10_000 });
    const large = Buffer.alloc(1_000_000, 7);
    const { reply, askedAtMs } = kept(0);
    const result = large.subarray(10, 20);
    cache.keep(named(1), fingerprint, { reply: { ...reply, result }, askedAtMs });
    large.fill(0);
    const found = cache.find(named(1), fingerprint);
    expect(found?.result).toEqual(new Uint8Array(10).fill(7));
    expect(found?.result.buffer.byteLength).toBe(10);
  });

  it("belong to their fingerprint alone, and are dropped when the store says otherwise", () => {
    const cache = createReplayCache(virtualRuntime(), { maxBytes: 10_000 });
    cache.keep(named(1), fingerprint, kept(1));
    for (const wrong of ["g", "ff", ""] as Fingerprint[]) {
      expect(cache.find(named(1), wrong)).toBeUndefined();
    }
    expect(cache.find(named(1), fingerprint)).toBeDefined();
    cache.forget(named(1));
    expect(cache.find(named(1), fingerprint)).toBeUndefined();
  });
});

describe("a held claim", () => {
  it("ends by itself only, not by an earlier one of the same record", () => {
    const runtime = virtualRuntime();
    const held = createHeldClaims(runtime);
    const [id, fingerprint] = ["id" as RecordId, "f" as Fingerprint];
    const claimedAtMs = runtime.nowMs();
    const claim = { fingerprint, claimedAtMs, leaseEndsAtMs: () => claimedAtMs + 100 };
    const leaveFirst = held.enter(id, claim);
    const leaveSecond = held.enter(id, { ...claim });
    leaveFirst();
    expect(held.find(id, fingerprint)).toEqual({
      kind: "in-progress",
      retryAfterMs: 100,
      runningForMs: 0,
    });
    expect(held.find(id, "g" as Fingerprint)).toBeUndefined();
    leaveSecond();
    expect(held.find(id, fingerprint)).toBeUndefined();
  });

  it("is not answered for a moment longer than its lease", async () => {
    const runtime = virtualRuntime();
    const held = createHeldClaims(runtime);
    const [id, fingerprint] = ["id" as RecordId, "f" as Fingerprint];
    const claimedAtMs = runtime.nowMs();
    held.enter(id, { fingerprint, claimedAtMs, leaseEndsAtMs: () => claimedAtMs + 100 });
    await runtime.advance(99);
    expect(held.find(id, fingerprint)).toMatchObject({ retryAfterMs: 1, runningForMs: 99 });
    await runtime.advance(1);
    expect(held.find(id, fingerprint)).toBeUndefined();
  });
});

describe("shared calls", () => {
  it("give no reply that was asked for before its caller came, in any interleaving", async () => {
    const arrivals = fc.array(fc.constantFrom("a", "b"), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), arrivals, async (scheduler, fingerprints) => {
        let moment = 0;
        let calls = 0;
        const shared = createSharedCalls<{ readonly startedAt: number; readonly of: string }>(
          () => false,
        );
        const ask = async (fingerprint: string): Promise<void> => {
          await scheduler.schedule(Promise.resolve());
          const arrivedAt = (moment += 1);
          const { reply } = await shared.ask("id" as RecordId, fingerprint as Fingerprint, () => {
            calls += 1;
            return scheduler.schedule(
              Promise.resolve({ startedAt: (moment += 1), of: fingerprint }),
            );
          });
          expect(reply.of).toBe(fingerprint);
          expect(reply.startedAt).toBeGreaterThan(arrivedAt);
        };
        const all = Promise.all(fingerprints.map(ask));
        await scheduler.waitFor(all);
        expect(calls).toBeLessThanOrEqual(fingerprints.length);
      }),
    );
  });
});
