/** The durable list of what somebody must look at: written while the store is down, and later. */
import { afterEach, describe, expect, it } from "vitest";
import { createEngine } from "../../src/index.ts";
import type { EngineEvent, Store } from "../../src/index.ts";
import { fingerprintOf } from "../../src/engine/values/fingerprint.ts";
import { memorySubject, redisSubject, sqliteSubject } from "../support/subjects.ts";
import { virtualRuntime } from "../support/virtual-runtime.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

const stores = [
  ["memory", memorySubject],
  ["SQLite", () => sqliteSubject()],
  ["Redis", redisSubject],
] as const;
const request = { operation: "charge", key: "k", input: { amount: 1 } };
const intent = { ...request, scope: "public", fingerprint: fingerprintOf([], { kind: "none" }) };

/** An engine whose store can be taken away and given back. */
async function setUp(open: (typeof stores)[number][1]) {
  const { store, clock, close } = await open();
  closers.push(close);
  const runtime = virtualRuntime();
  let isDown = false;
  const events: EngineEvent[] = [];
  const wall = new Proxy(store, {
    get: (target, name: keyof Store) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown =>
        isDown ? Promise.reject(new Error("unreachable")) : Reflect.apply(value, target, args);
    },
  });
  const onEvent = (event: EngineEvent) => void events.push(event);
  const engine = createEngine({ store: wall, runtime, lease: "1s", onEvent });
  return {
    store,
    engine,
    other: createEngine({ store, runtime, lease: "1s" }),
    setDown: (value: boolean) => (isDown = value),
    kinds: () => events.map(({ kind }) => kind),
    reasons: async () => (await store.attention()).notes.map(({ reason }) => reason),
    advance: async (ms: number) => {
      await clock.advance(ms);
      await runtime.advance(ms);
    },
    /** Time passes in small steps, for what needs the store's real replies in between. */
    elapse: async (until: () => boolean) => {
      await expect
        .poll(
          async () => {
            await clock.advance(100);
            await runtime.advance(100);
            return until();
          },
          { interval: 1, timeout: 5000 },
        )
        .toBe(true);
    },
  };
}

/** Closes the engine, and tells whether that has come to its end. */
function closing(engine: { readonly close: (withinMs: number) => Promise<void> }) {
  const state = { isOver: false, over: engine.close(600_000) };
  void state.over.then(() => (state.isOver = true));
  return state;
}

describe.each(stores)("a note on %s", (_name, open) => {
  it("tells of a run without protection, once the store is back (B-94)", async () => {
    const { engine, setDown, advance, elapse, kinds, reasons } = await setUp(open);
    setDown(true);
    const asked = engine.begin(intent);
    await advance(3000);
    const admission = await asked;
    if (admission.kind !== "unavailable") throw new Error(admission.kind);
    admission.bypass();
    const close = closing(engine);
    await advance(5000);
    expect([close.isOver, kinds()]).toEqual([false, ["store-unavailable", "bypassed"]]);
    expect(await reasons()).toEqual([]);
    setDown(false);
    await elapse(() => close.isOver);
    expect(await reasons()).toEqual(["bypassed"]);
  });

  it("tells of a result that was given up, once the store is back (B-95)", async () => {
    const { engine, setDown, advance, elapse, kinds, reasons } = await setUp(open);
    const answer = engine.run(request, () => {
      setDown(true);
      return "paid";
    });
    await advance(100);
    expect(await answer).toBe("paid");
    expect(kinds()).toEqual(["complete-failed"]);
    const close = closing(engine);
    for (let lease = 0; lease < 12; lease += 1) await advance(1000); // ten of them are waited for
    expect([close.isOver, kinds()]).toEqual([false, ["complete-failed", "lease-lost"]]);
    setDown(false);
    await elapse(() => close.isOver);
    expect(await reasons()).toEqual(["result-not-recorded"]);
  });
});

describe.each(stores)("a note on %s", (_name, open) => {
  it("tells of an owner that ran on while another took over (B-83)", async () => {
    const { engine, other, setDown, advance, elapse, kinds, reasons } = await setUp(open);
    const ending = Promise.withResolvers<string>();
    const started = Promise.withResolvers<void>();
    const first = engine.run(request, () => {
      started.resolve();
      return ending.promise;
    });
    await started.promise;
    setDown(true);
    await advance(1500);
    expect(await other.run(request, () => "the other's")).toBe("the other's");
    ending.resolve("its own");
    const close = closing(engine);
    await advance(2000);
    expect(await reasons()).toEqual([]);
    setDown(false);
    await elapse(() => close.isOver);
    expect(await first).toBe("its own");
    expect(await reasons()).toEqual(["lease-lost"]);
    expect(kinds()).toContain("lease-lost");
    expect(await other.run(request, () => "again")).toBe("the other's");
  });

  it("stays until it is dismissed, and is not written for what went well", async () => {
    const { engine, store, reasons } = await setUp(open);
    expect(await engine.run(request, () => "paid")).toBe("paid");
    await engine.close();
    expect(await reasons()).toEqual([]);
    const found = await engine.find(request);
    if (found === undefined) throw new Error("There is no record.");
    await store.note({ id: found.id, reason: "lease-lost", operation: "charge" });
    expect(await reasons()).toEqual(["lease-lost"]);
    expect(await store.dismiss(found.id)).toBe(1);
    expect(await reasons()).toEqual([]);
  });
});
