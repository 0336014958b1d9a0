/** Steps of the work under one key: remembered, resumed, bounded. */
import { afterEach, describe, expect, it } from "vitest";
import { createEngine } from "../../src/index.ts";
import type { Claim, Engine, EngineEvent } from "../../src/index.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { virtualRuntime } from "../support/virtual-runtime.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

const runtime = virtualRuntime();
/** Stores that no renewal reaches for now. */
const silence = new Set<Store>();
const request = { operation: "order", key: "k", input: { id: 1 } };

function engineOn(store: Store, events: EngineEvent[] = []): Engine {
  closers.push(() => store.close());
  const onEvent = (event: EngineEvent) => void events.push(event);
  return createEngine({ store, runtime, lease: "1s", onEvent });
}

function withSilence(store: Store): Store {
  const renew: Store["renew"] = (...args) =>
    silence.has(store) ? Promise.reject(new Error("unreachable")) : store.renew(...args);
  return { ...store, renew };
}

const places = [
  ["memory", () => memoryStore({ now: runtime.nowMs })],
  ["SQLite", () => sqliteStore(":memory:", { now: runtime.nowMs })],
] as const;

describe.each(places)("steps on %s", (_name, open) => {
  it("are not run again after a failure behind them", async () => {
    const engine = engineOn(open());
    const runs: string[] = [];
    const keys = new Set<string>();
    const order = async (claim: Claim) => {
      const charge = await claim.step("charge", ({ key }) => {
        runs.push("charge");
        keys.add(key);
        return { id: "ch_1", bytes: undefined };
      });
      const bytes = await claim.step("receipt", () => {
        runs.push("receipt");
        return Uint8Array.of(0, 255);
      });
      await claim.step("mail", () => {
        runs.push("mail");
        if (claim.attempt === 1) throw new Error("no mail server");
      });
      return [charge.id, ...bytes, claim.attempt];
    };
    await expect(engine.run(request, order)).rejects.toThrow("no mail server");
    expect(await engine.run(request, order)).toEqual(["ch_1", 0, 255, 2]);
    expect(runs).toEqual(["charge", "receipt", "mail", "mail"]);
    expect(keys.size).toBe(1);
  });

  it("survive their owner, who can add none once another has taken over (B-83)", async () => {
    const store = open();
    const events: EngineEvent[] = [];
    const owner = engineOn(withSilence(store), events);
    const paused = Promise.withResolvers<void>();
    let lateStep: Promise<unknown> = Promise.resolve();
    const first = owner.run(request, async (claim) => {
      await claim.step("charge", () => "paid");
      await paused.promise;
      lateStep = claim.step("mail", () => "sent");
      await lateStep;
    });
    first.catch(() => undefined);
    silence.add(store);
    await runtime.advance(1500);
    const resumed = await engineOn(store).run(request, (claim) =>
      claim.step("charge", () => "paid twice"),
    );
    silence.delete(store);
    paused.resolve();
    await expect(first).rejects.toMatchObject({ code: "lease-lost" });
    expect(resumed).toBe("paid");
    expect(events.map(({ kind }) => kind)).toContain("lease-lost");
    await runtime.advance(0);
    const { notes } = await store.attention();
    expect(notes.map(({ reason, operation }) => [reason, operation])).toEqual([
      ["lease-lost", "order"],
    ]);
  });
});

describe.each(places)("steps on %s", (_name, open) => {
  it("run once when asked for twice at a time", async () => {
    const engine = engineOn(open());
    let runs = 0;
    const values = await engine.run(request, (claim) =>
      Promise.all([1, 2].map(() => claim.step("one", () => (runs += 1)))),
    );
    expect([values, runs]).toEqual([[1, 1], 1]);
  });

  it("never run again when their value could not be kept", async () => {
    const engine = engineOn(open());
    let runs = 0;
    const work = async (claim: Claim) => {
      await claim.step("large", () => "x".repeat(70_000 + (runs += 1)));
      if (claim.attempt === 1) throw new Error("afterwards");
    };
    await expect(engine.run(request, work)).rejects.toThrow("afterwards");
    await expect(engine.run(request, work)).rejects.toMatchObject({ code: "result-omitted" });
    expect(runs).toBe(1);
  });

  it("that could not be recorded are recorded when asked for again, and not run", async () => {
    const store = open();
    let isDown = true;
    const step: Store["step"] = (...args) =>
      isDown ? Promise.reject(new Error("unreachable")) : store.step(...args);
    const engine = engineOn({ ...store, step });
    let charges = 0;
    const work = async (claim: Claim) => {
      const charge = () => claim.step("charge", () => (charges += 1));
      if (claim.attempt === 2) return charge();
      await expect(charge()).rejects.toMatchObject({ code: "store-unavailable" });
      isDown = false;
      await charge();
      throw new Error("afterwards");
    };
    const first = engine.run(request, work);
    first.catch(() => undefined);
    await runtime.advance(5000);
    await expect(first).rejects.toThrow("afterwards");
    expect([await engine.run(request, work), charges]).toEqual([1, 1]);
  });

  it("have a name, and are at most 64", async () => {
    const engine = engineOn(open());
    await engine.run(request, async (claim) => {
      expect(() => claim.step("", () => 1)).toThrow(TypeError);
      expect(() => claim.step("é", () => 1)).toThrow(/1 to 100 visible ASCII/);
      for (let index = 0; index < 64; index += 1) await claim.step(`s${index}`, () => index);
      expect(() => claim.step("s64", () => 1)).toThrow(/at most 64 steps/);
    });
  });
});
