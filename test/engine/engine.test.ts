/**
 * The engine on a virtual clock, over the memory store and over a network that loses what it is
 * told to.
 */
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { createEngine, idempotent, isLatchkeyError } from "../../src/index.ts";
import type { Claim, EngineEvent, EngineOptions, Store } from "../../src/index.ts";
import { fingerprintOf } from "../../src/engine/values/fingerprint.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { virtualRuntime } from "../support/virtual-runtime.ts";

type Fault = "lose-request" | "lose-reply" | "silent";

function setUp(options: Partial<EngineOptions> = {}) {
  const runtime = virtualRuntime();
  const memory = memoryStore({ now: runtime.nowMs });
  const faults: Partial<Record<keyof Store, Fault[]>> = {};
  const calls: string[] = [];
  // The network before the store: it may lose a request, a reply, or answer never.
  const store = new Proxy(memory, {
    get: (target, name: keyof Store) => {
      if (name === "name") return target[name];
      const call = Reflect.get(target, name) as (...all: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        calls.push(name);
        const fault = faults[name]?.shift();
        if (fault === "silent") return new Promise(() => undefined);
        if (fault === "lose-request") throw new Error("connection lost");
        const reply = await call(...args);
        if (fault === "lose-reply") throw new Error("connection lost");
        return reply;
      };
    },
  });
  const events: EngineEvent[] = [];
  const engineOptions = {
    store,
    runtime,
    lease: "30s",
    onEvent: (e: EngineEvent) => events.push(e),
  };
  const engine = createEngine({ ...engineOptions, ...options });
  const kinds = () => events.map((event) => event.kind);
  return { runtime, memory, faults, calls, engine, kinds };
}

const request = { operation: "charge", key: "k", input: { amount: 1 } };
const codeOf = (error: unknown) => (isLatchkeyError(error) ? error.code : error);

describe("run", () => {
  const values = [undefined, null, 0, false, "", [], { a: "ü" }, Uint8Array.of(0, 255)];
  it.each(values.map((value) => [value]))(
    "returns %j again without running again",
    async (value) => {
      const { engine } = setUp();
      let runs = 0;
      const work = () => {
        runs += 1;
        return value;
      };
      expect(await engine.run<unknown>(request, work)).toEqual(value);
      expect(await engine.run<unknown>(request, work)).toEqual(value);
      expect(runs).toBe(1);
    },
  );

  it("takes no second look at an input that the work has changed", async () => {
    const { engine } = setUp();
    const input = { amount: 1 };
    await engine.run({ ...request, input }, () => void (input.amount = 2));
    await expect(
      engine.run({ ...request, input: { amount: 1 } }, () => 1),
    ).resolves.toBeUndefined();
  });

  it("refuses another input, and a duplicate while the first runs", async () => {
    const { engine, kinds } = setUp();
    const gate = Promise.withResolvers<string>();
    const first = engine.run(request, () => gate.promise);
    await expect(engine.run(request, () => "second")).rejects.toMatchObject({
      code: "in-progress",
      retryAfterMs: 1000,
    });
    const other = engine.run({ ...request, input: 2 }, () => "other");
    await expect(other).rejects.toMatchObject({ code: "key-reused" });
    gate.resolve("first");
    expect(await first).toBe("first");
    expect(kinds()).toEqual(["conflict", "mismatch", "executed"]);
  });

  it("tells a duplicate when the work is likely done, by its average (B-44)", async () => {
    const { engine, runtime } = setUp();
    const work = async () => new Promise((resolve) => runtime.timer(() => resolve(1), 9000));
    const first = engine.run({ ...request, key: "before" }, work);
    await runtime.advance(9000);
    await first;
    const second = engine.run(request, work);
    await runtime.advance(4000);
    const refusal = engine.run(request, work);
    await expect(refusal).rejects.toMatchObject({ code: "in-progress", retryAfterMs: 5000 });
    await runtime.advance(5000);
    await second;
  });

  it("releases the key when the work throws, and counts the attempts", async () => {
    const { engine, kinds } = setUp();
    await expect(engine.run(request, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await engine.run(request, (claim) => claim.attempt)).toBe(2);
    expect(kinds()).toEqual(["released", "executed"]);
  });

  it("leaves the outcome unknown when the work throws after commit (B-75)", async () => {
    const { engine } = setUp();
    const work = async (claim: Claim) => {
      await claim.commit();
      throw new Error("lost the card network");
    };
    await expect(engine.run(request, work)).rejects.toThrow("lost the card network");
    await expect(engine.run(request, () => 1)).rejects.toMatchObject({ code: "outcome-unknown" });
  });

  it("omits a value that JSON cannot say, and does not run again", async () => {
    const { engine } = setUp();
    expect(await engine.run(request, () => 1n)).toBe(1n);
    await expect(engine.run(request, () => 2n)).rejects.toMatchObject({ code: "result-omitted" });
  });

  it("derives the same downstream key on every attempt", async () => {
    const { engine } = setUp();
    const keys: string[] = [];
    const work = (claim: Claim) => {
      keys.push(claim.deriveKey("card"), claim.deriveKey("mail"));
      if (claim.attempt === 1) throw new Error("again");
    };
    await engine.run(request, work).catch(codeOf);
    await engine.run(request, work);
    expect(new Set(keys).size).toBe(2);
  });

  it("wraps a plain function", async () => {
    const { engine } = setUp();
    let runs = 0;
    const charge = (order: { readonly id: string }) => `${order.id} ${(runs += 1)}`;
    const chargeOnce = idempotent(engine, charge, { operation: "charge", key: (o) => o.id });
    const answers = [await chargeOnce({ id: "a" }), await chargeOnce({ id: "a" })];
    expect(answers).toEqual(["a 1", "a 1"]);
    expect(await chargeOnce({ id: "b" })).toBe("b 2");
  });
});

describe("waiting", () => {
  it("ends with the owner's result, woken without asking the store in vain (B-49)", async () => {
    const { engine, calls, kinds } = setUp();
    const gate = Promise.withResolvers<string>();
    const first = engine.run(request, () => gate.promise);
    const second = engine.run({ ...request, wait: "5s" }, () => "second");
    await new Promise((resolve) => setImmediate(resolve));
    gate.resolve("first");
    expect([await first, await second]).toEqual(["first", "first"]);
    expect(calls.filter((name) => name === "claim")).toHaveLength(2);
    expect(kinds()).toEqual(["waited", "executed", "replayed"]);
  });

  it("gives up after its budget, and leaves the owner alone (B-50)", async () => {
    const { engine, runtime } = setUp();
    const gate = Promise.withResolvers<string>();
    const first = engine.run(request, () => gate.promise);
    const second = engine.run({ ...request, wait: "1s" }, () => "second").catch(codeOf);
    await runtime.advance(1000);
    expect(await second).toBe("in-progress");
    gate.resolve("first");
    expect(await first).toBe("first");
    expect(runtime.timers()).toBe(0);
  });

  it("makes one of the waiters the owner when the first one fails (B-51)", async () => {
    const { engine, runtime } = setUp();
    const gate = Promise.withResolvers<string>();
    const first = engine.run(request, () => gate.promise).catch(() => "failed");
    let runs = 0;
    const waiters = [1, 2, 3].map(() =>
      engine.run({ ...request, wait: "5s" }, () => `run ${(runs += 1)}`),
    );
    await runtime.advance(100);
    gate.reject(new Error("no"));
    expect(await first).toBe("failed");
    await runtime.advance(1000);
    expect(await Promise.all(waiters)).toEqual(["run 1", "run 1", "run 1"]);
    expect(runs).toBe(1);
  });

  it("takes over from an owner that is dead, at the end of its lease (B-51)", async () => {
    const { engine, runtime, faults } = setUp({ lease: "2s" });
    faults.renew = Array.from({ length: 50 }, () => "lose-request");
    const first = engine.run(request, () => new Promise(() => undefined));
    const second = engine.run({ ...request, wait: "5s" }, () => "second");
    await runtime.advance(2300);
    expect(await second).toBe("second");
    void first;
  });

  it("is bounded for one key, and ends when the client goes away (B-52, B-54)", async () => {
    const { engine, runtime } = setUp();
    const gate = Promise.withResolvers<string>();
    const first = engine.run(request, () => gate.promise);
    await runtime.advance(1);
    const all = Array.from({ length: 60 }, () =>
      engine.run({ ...request, wait: "5s" }, () => "second").catch(codeOf),
    );
    await runtime.advance(1);
    const fingerprint = fingerprintOf([], { kind: "json", value: request.input });
    const abort = new AbortController();
    const intent = { operation: "charge", scope: "public", key: "other", fingerprint };
    const owner = await engine.begin(intent);
    const gone = engine.begin({ ...intent, waitMs: 5000, signal: abort.signal });
    await runtime.advance(1);
    abort.abort();
    expect([owner.kind, (await gone).kind]).toEqual(["execute", "in-progress"]);
    gate.resolve("first");
    await first;
    await runtime.advance(1);
    const answers = await Promise.all(all);
    expect(answers.filter((answer) => answer === "in-progress")).toHaveLength(10);
    expect(answers.filter((answer) => answer === "first")).toHaveLength(50);
  });
});

describe("the lease", () => {
  it("is renewed for work of three leases, which runs once (B-82)", async () => {
    const { engine, runtime } = setUp();
    const gate = Promise.withResolvers<string>();
    const first = engine.run(request, () => gate.promise);
    for (let step = 0; step < 9; step += 1) {
      await runtime.advance(10_000);
      await expect(engine.run(request, () => 2)).rejects.toMatchObject({ code: "in-progress" });
    }
    gate.resolve("done");
    expect(await first).toBe("done");
    expect(runtime.timers()).toBe(0);
  });

  it("that was lost aborts the signal and refuses commit and result (B-83)", async () => {
    const { engine, runtime, faults, kinds } = setUp();
    faults.renew = Array.from({ length: 50 }, () => "lose-request");
    const gate = Promise.withResolvers<string>();
    let late: Claim | undefined;
    const first = engine.run(request, (claim) => {
      late = claim;
      return gate.promise;
    });
    await runtime.advance(31_000);
    expect(late?.signal.aborted).toBe(true);
    expect(await engine.run(request, () => "new owner")).toBe("new owner");
    await expect(late?.commit()).rejects.toMatchObject({ code: "lease-lost" });
    gate.resolve("late owner");
    expect(await first).toBe("late owner");
    expect(await engine.run(request, () => "third")).toBe("new owner");
    expect(kinds()).toEqual(["lease-lost", "takeover", "executed", "replayed"]);
  });

  it("that ended leaves the outcome unknown where nobody may take over (B-88)", async () => {
    const { engine, runtime, faults } = setUp({ onAbandoned: "in-doubt" });
    faults.renew = Array.from({ length: 50 }, () => "lose-request");
    const gate = Promise.withResolvers<string>();
    const first = engine.run(request, () => gate.promise);
    await runtime.advance(31_000);
    await expect(engine.run(request, () => 2)).rejects.toMatchObject({ code: "outcome-unknown" });
    gate.resolve("late, but the only one");
    await first;
    expect(await engine.run(request, () => 2)).toBe("late, but the only one");
  });
});

describe("a failing store", () => {
  it("that loses the reply to a claim does not lock its owner out (L3)", async () => {
    const { engine, runtime, faults } = setUp();
    faults.claim = ["lose-reply"];
    const answer = engine.run(request, (claim) => claim.attempt);
    await runtime.advance(1000);
    expect(await answer).toBe(1);
  });

  it("that never answers is unavailable in bounded time; its ghost is freed", async () => {
    const { engine, runtime, faults, memory, calls } = setUp();
    faults.claim = ["lose-reply", "silent"];
    const answer = engine.run(request, () => 1).catch(codeOf);
    await runtime.advance(10_000);
    expect(await answer).toBe("store-unavailable");
    expect(calls).toContain("release");
    expect(await engine.run(request, (claim) => claim.attempt)).toBe(2);
    expect(await memory.sweep()).toBe(0);
  });

  it.each(["takeover", "in-doubt"] as const)(
    "that applies a claim after its release leaves no ghost (%s)",
    async (onAbandoned) => {
      const { memory, runtime } = setUp();
      const stuck = Promise.withResolvers<void>();
      const claim: Store["claim"] = async (...args) => {
        await stuck.promise; // on another connection than the release
        return memory.claim(...args);
      };
      const options = { runtime, onAbandoned };
      const late = createEngine({ ...options, store: { ...memory, claim } });
      const answer = late.run(request, () => 1).catch(codeOf);
      await runtime.advance(5000);
      expect(await answer).toBe("store-unavailable");
      stuck.resolve();
      await runtime.advance(0);
      expect(await createEngine({ ...options, store: memory }).run(request, () => 2)).toBe(2);
    },
  );

  it("that fails to record is told again until it has, under the heartbeat (B-95)", async () => {
    const { engine, runtime, faults, kinds } = setUp();
    faults.complete = Array.from({ length: 500 }, () => "lose-request");
    expect(await engine.run(request, () => "paid")).toBe("paid");
    expect(kinds()).toEqual(["complete-failed"]);
    await runtime.advance(40_000);
    await expect(engine.run(request, () => 2)).rejects.toMatchObject({ code: "in-progress" });
    faults.complete = [];
    const closed = engine.close(60_000);
    await runtime.advance(60_000);
    await closed;
    expect(await engine.run(request, () => 2)).toBe("paid");
    expect(runtime.timers()).toBe(0);
  });

  it("cannot make a release free what is being recorded", async () => {
    const { engine, runtime, faults } = setUp();
    faults.complete = ["lose-request"];
    const fingerprint = "f" as never;
    const admitted = await engine.begin({ operation: "o", scope: "s", key: "k", fingerprint });
    if (admitted.kind !== "execute") throw new Error("The key should have been free.");
    expect(await admitted.claim.complete(new Uint8Array(1))).toBe("pending");
    expect(await admitted.claim.release()).toBe("pending");
    await runtime.advance(1000);
    const again = await engine.begin({ operation: "o", scope: "s", key: "k", fingerprint });
    expect(again.kind).toBe("completed");
  });
});

describe("what outlives the answer", () => {
  it("is not told to a waitUntil that throws, and its key is free again all the same", async () => {
    const { engine } = setUp();
    const warned = once(process, "warning");
    const waitUntil = (): never => {
      throw new Error("Illegal invocation");
    };
    const intent = { operation: "o", scope: "s", key: "k", fingerprint: "f" as never };
    const admitted = await engine.begin({ ...intent, waitUntil });
    if (admitted.kind !== "execute") throw new Error("The key should have been free.");
    expect(await admitted.claim.complete(new Uint8Array(1))).toBe("recorded");
    expect(String(await warned)).toContain("waitUntil threw: Error: Illegal invocation");
    expect((await engine.begin(intent)).kind).toBe("completed");
  });

  it("may take longer than a timer can: a lease of 100 days is not renewed at once", async () => {
    const memory = memoryStore();
    let renewals = 0;
    const renew: Store["renew"] = (...args) => {
      renewals += 1;
      return memory.renew(...args);
    };
    const lent = createEngine({ store: { ...memory, renew }, lease: "100d" });
    const ticks = () => new Promise<void>((resolve) => setTimeout(resolve, 20));
    await lent.run(request, ticks);
    expect(renewals).toBe(0);
  });
});

describe("createEngine", () => {
  it("refuses wrong options with a TypeError that says what was expected", () => {
    const store = memoryStore();
    expect(() => createEngine({} as never)).toThrow(/needs \{ store \}/);
    expect(() => createEngine({ store, lease: "soon" })).toThrow(/lease must be a duration/);
    expect(() => createEngine({ store, onAbandoned: "x" as never })).toThrow(/onAbandoned must be/);
  });

  it("says that a runtime is too old, instead of failing with the first request", () => {
    const groupBy = Object.getOwnPropertyDescriptor(Map, "groupBy") ?? {};
    Reflect.deleteProperty(Map, "groupBy");
    try {
      const words = "This runtime is too old for Latchkey: it has no groupBy. Use Node 22.13";
      expect(() => createEngine({ store: memoryStore() })).toThrow(words);
    } finally {
      Object.defineProperty(Map, "groupBy", groupBy);
    }
  });

  it("is not disturbed by a listener that throws (B-114)", async () => {
    const { engine } = setUp();
    engine.subscribe(() => {
      throw new Error("listener");
    });
    expect(await engine.run(request, () => 1)).toBe(1);
  });
});
