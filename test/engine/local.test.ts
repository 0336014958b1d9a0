/**
 * What an engine answers without the store: repeated replays, conflicts with its own claims, and
 * duplicates that arrive together. Never a thing that the store would have contradicted.
 */
import { describe, expect, it } from "vitest";
import type { ReplayCacheOptions } from "../../src/engine/local/replay-cache.ts";
import { createEngine, isLatchkeyError } from "../../src/index.ts";
import type { EngineEvent, EngineOptions, Store } from "../../src/index.ts";
import type { Fingerprint, RecordId } from "../../src/machine/record.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { virtualRuntime } from "../support/virtual-runtime.ts";

const request = { operation: "charge", key: "k", input: { amount: 1 } };
const other = { ...request, input: { amount: 2 } };
const codeOf = (error: unknown) => (isLatchkeyError(error) ? error.code : error);
const replayCache: ReplayCacheOptions = { maxBytes: 1_000_000 };

/** Two engines, as of two processes, on one store; `calls` is what the first one asks of it. */
function setUp(options: Partial<EngineOptions> = {}) {
  const runtime = virtualRuntime();
  const memory = memoryStore({ now: runtime.nowMs });
  const calls: string[] = [];
  /** Holds the replies to claims back while it is set. */
  const slow: { until?: Promise<void> | undefined; down?: boolean } = {};
  const store: Store = new Proxy(memory, {
    get: (target, name: keyof Store) => {
      if (name === "name") return target[name];
      const call = Reflect.get(target, name) as (...all: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        calls.push(name);
        if (slow.down === true) throw new Error("no route to the store");
        const reply = await call(...args);
        if (name === "claim") await slow.until;
        return reply;
      };
    },
  });
  const events: EngineEvent[] = [];
  const onEvent = (event: EngineEvent) => void events.push(event);
  const engine = createEngine({ store, runtime, onEvent, lease: "30s", ...options });
  const elsewhere = createEngine({ store: memory, runtime, lease: "30s" });
  const kinds = () => events.map(({ kind }) => kind);
  /** How many calls an action takes. */
  const counted = async (action: () => Promise<unknown>): Promise<number> => {
    const before = calls.length;
    await action();
    return calls.length - before;
  };
  return { runtime, memory, engine, elsewhere, calls, slow, kinds, counted };
}

describe("the store", () => {
  it("is asked twice at first, once for a replay, and by the cache not at all (B-38)", async () => {
    for (const [options, cached] of [
      [{}, 1],
      [{ replayCache }, 0],
    ] as const) {
      const { engine, counted, kinds } = setUp(options);
      const pay = () => engine.run(request, () => "paid");
      const costs = [await counted(pay), await counted(pay), await counted(pay)];
      expect(costs).toEqual([2, 1, cached]);
      expect(await pay()).toBe("paid");
      expect(kinds()).toEqual(["executed", "replayed", "replayed", "replayed"]);
    }
  });

  it("is asked once for a mismatch, and not at all for a conflict in this process", async () => {
    const { engine, elsewhere, counted, kinds } = setUp({ replayCache });
    const gate = Promise.withResolvers<string>();
    const foreign = elsewhere.run({ ...request, key: "foreign" }, () => gate.promise);
    const first = engine.run(request, () => gate.promise);
    await Promise.resolve();
    const refused = (asked: typeof request, code: string) => () =>
      expect(engine.run(asked, () => "second")).rejects.toMatchObject({ code });
    expect(await counted(refused(request, "in-progress"))).toBe(0);
    expect(await counted(refused(other, "key-reused"))).toBe(1);
    expect(await counted(refused({ ...request, key: "foreign" }, "in-progress"))).toBe(1);
    gate.resolve("done");
    await Promise.all([first, foreign]);
    expect(await counted(() => engine.run(request, () => "second"))).toBe(1);
    expect(await counted(refused(other, "key-reused"))).toBe(1);
    expect(await counted(() => engine.run(request, () => "second"))).toBe(0);
    const told = ["conflict", "mismatch", "conflict", "executed", "replayed", "mismatch"];
    expect(kinds()).toEqual([...told, "replayed"]);
  });
});

describe("the replay cache of an engine", () => {
  it("asks again after maxAge: an operator's forget is not contradicted for long", async () => {
    const { engine, memory, runtime, counted } = setUp({
      replayCache: { ...replayCache, maxAge: "5s" },
    });
    await engine.run(request, () => "first");
    await engine.run(request, () => "second");
    const [record] = (await memory.list()).records;
    await memory.forget(record?.id as RecordId);
    await runtime.advance(4999);
    expect(await counted(() => engine.run(request, () => "third"))).toBe(0);
    await runtime.advance(1);
    expect(await engine.run(request, () => "third")).toBe("third");
    expect(await engine.run(request, () => "fourth")).toBe("third");
  });

  it("gives nothing out that another body's claim has taken the place of", async () => {
    const { engine, memory } = setUp({ replayCache });
    await engine.run(request, () => "first");
    await engine.run(request, () => "first again");
    const [record] = (await memory.list()).records;
    await memory.forget(record?.id as RecordId);
    expect(await engine.run(other, () => "second")).toBe("second");
    await expect(engine.run(request, () => 3)).rejects.toMatchObject({ code: "key-reused" });
  });

  it("gives nothing out beyond the retention, counted from before it asked", async () => {
    const { engine, runtime, slow, counted } = setUp({ replayCache, retention: "3s" });
    await engine.run(request, () => "first");
    const gate = Promise.withResolvers<void>();
    slow.until = gate.promise;
    const replay = engine.run(request, () => "second");
    await runtime.advance(1000);
    gate.resolve();
    slow.until = undefined;
    expect(await replay).toBe("first");
    await runtime.advance(1999);
    expect(await counted(() => engine.run(request, () => "second"))).toBe(0);
    await runtime.advance(1);
    expect(await engine.run(request, () => "second")).toBe("second");
  });

  it("counts the remaining lifetime down", async () => {
    const { engine, runtime } = setUp({ replayCache, retention: "8s" });
    await engine.run(request, () => 1);
    const fingerprint = "f" as Fingerprint;
    const intent = { operation: "o", scope: "s", key: "k", fingerprint };
    const admitted = await engine.begin(intent);
    if (admitted.kind === "execute") await admitted.claim.complete(new Uint8Array(1));
    const left: unknown[] = [];
    for (let second = 0; second < 3; second += 1) {
      const replay = await engine.begin(intent);
      left.push(replay.kind === "completed" ? replay.expiresInMs : replay.kind);
      await runtime.advance(1500.25);
    }
    expect(left).toEqual([8000, 6499, 4999]);
  });

  it("is refused a wrong size or age", () => {
    const { memory: store } = setUp();
    const create = (cache: unknown) => () =>
      createEngine({ store, replayCache: cache as ReplayCacheOptions });
    expect(create({ maxBytes: 0 })).toThrow(/replayCache.maxBytes must be a whole number/);
    expect(create({})).toThrow(/replayCache.maxBytes must be/);
    expect(create({ maxBytes: 1, maxAge: "soon" })).toThrow(/replayCache.maxAge must be/);
  });
});

describe("a claim that this engine holds", () => {
  it("is asked of the store again while its result is being recorded (B-25)", async () => {
    const { engine, memory, elsewhere, runtime, counted } = setUp();
    const [recorded, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const complete: typeof memory.complete = async (...all) => {
      const reply = await memory.complete(...all);
      recorded.resolve();
      await gate.promise;
      return reply;
    };
    const recording = createEngine({ store: { ...memory, complete }, runtime });
    const first = recording.run(request, () => "first");
    await recorded.promise;
    for (const each of [recording, engine, elsewhere]) {
      expect(await each.run(request, () => "second")).toBe("first");
    }
    expect(await counted(() => engine.run(request, () => "second"))).toBe(1);
    gate.resolve();
    expect(await first).toBe("first");
  });

  it("and has lost to another is the other's to answer for (B-83)", async () => {
    const { engine, memory, elsewhere, runtime, calls } = setUp();
    const renew = () => Promise.reject(new Error("no route to the store"));
    const cut = createEngine({ store: { ...memory, renew }, runtime, lease: "30s" });
    const gate = Promise.withResolvers<string>();
    const first = cut.run(request, () => gate.promise);
    await runtime.advance(29_999);
    await expect(cut.run(request, () => 2)).rejects.toMatchObject({ code: "in-progress" });
    await runtime.advance(1);
    expect(await elsewhere.run(request, () => "taken over")).toBe("taken over");
    expect(await cut.run(request, () => 2)).toBe("taken over");
    gate.resolve("late");
    expect(await first).toBe("late");
    expect(await cut.run(request, () => 2)).toBe("taken over");
    expect([await engine.run(request, () => 2), calls]).toEqual(["taken over", ["claim"]]);
  });

  it("and was told to have lost is no longer answered for (B-83)", async () => {
    const { engine, memory, elsewhere, runtime } = setUp();
    const gate = Promise.withResolvers<string>();
    const first = engine.run(request, () => gate.promise);
    await runtime.advance(1);
    const [record] = (await memory.list()).records;
    await memory.forget(record?.id as RecordId);
    expect(await elsewhere.run(request, () => "by the other")).toBe("by the other");
    await runtime.advance(10_000); // a heartbeat; by this process's own view 20 s are left
    expect(await engine.run(request, () => 2)).toBe("by the other");
    gate.resolve("late");
    expect(await first).toBe("late");
  });

  it("counts its lease from before it was asked for", async () => {
    const { memory, elsewhere, runtime } = setUp();
    const wire = Promise.withResolvers<void>();
    const claim: typeof memory.claim = async (...all) => {
      const reply = await memory.claim(...all);
      await wire.promise;
      return reply;
    };
    const renew = () => Promise.reject(new Error("no route to the store"));
    const slowly = createEngine({ store: { ...memory, renew, claim }, runtime, lease: "30s" });
    const gate = Promise.withResolvers<string>();
    const first = slowly.run(request, () => gate.promise);
    await runtime.advance(1500);
    wire.resolve();
    await runtime.advance(28_500);
    expect(await elsewhere.run(request, () => "taken over")).toBe("taken over");
    expect(await slowly.run(request, () => 2)).toBe("taken over");
    gate.resolve("late");
    expect(await first).toBe("late");
  });
});

describe("duplicates that arrive together", () => {
  it("cost two calls on a fresh key, and are all refused but one (B-46)", async () => {
    const { engine, calls, kinds, runtime } = setUp();
    const gate = Promise.withResolvers<string>();
    const all = Array.from({ length: 50 }, () =>
      engine.run(request, () => gate.promise).catch(codeOf),
    );
    await runtime.advance(0);
    gate.resolve("paid");
    const answers = await Promise.all(all);
    expect(answers.filter((answer) => answer === "paid")).toHaveLength(1);
    expect(answers.filter((answer) => answer === "in-progress")).toHaveLength(49);
    expect(calls).toEqual(["claim", "complete"]);
    expect(kinds().filter((kind) => kind === "conflict")).toHaveLength(49);
  });

  it("cost two calls when the claim is held elsewhere, or the result is there", async () => {
    const { engine, elsewhere, calls } = setUp();
    const gate = Promise.withResolvers<string>();
    const first = elsewhere.run(request, () => gate.promise);
    const storm = () =>
      Promise.all(Array.from({ length: 50 }, () => engine.run(request, () => 2).catch(codeOf)));
    expect(new Set(await storm())).toEqual(new Set(["in-progress"]));
    gate.resolve("paid");
    await first;
    expect(new Set(await storm())).toEqual(new Set(["paid"]));
    expect(calls).toEqual(Array(4).fill("claim"));
  });

  it("are not told what was true before they came", async () => {
    const { engine, elsewhere, slow, runtime } = setUp();
    const [work, wire] = [Promise.withResolvers<string>(), Promise.withResolvers<void>()];
    const owner = elsewhere.run(request, () => work.promise);
    slow.until = wire.promise; // its answer, in progress, is on the way and takes its time
    const early = engine.run(request, () => 2).catch(codeOf);
    await runtime.advance(1);
    work.resolve("paid");
    await owner;
    const late = engine.run(request, () => 2).catch(codeOf);
    wire.resolve();
    expect([await early, await late]).toEqual(["in-progress", "paid"]);
  });

  it("of another body are not mistaken for them", async () => {
    const { engine, runtime } = setUp();
    const gate = Promise.withResolvers<string>();
    const [first, second] = [request, other].map((asked) =>
      engine.run(asked, () => gate.promise).catch(codeOf),
    );
    await runtime.advance(0);
    gate.resolve("paid");
    expect([await first, await second]).toEqual(["paid", "key-reused"]);
  });

  it("are all told when the store is down, each by an event, in the time of one", async () => {
    const { engine, slow, runtime, kinds } = setUp({ storeTimeout: "1s" });
    slow.down = true;
    const all = Array.from({ length: 10 }, () => engine.run(request, () => 1).catch(codeOf));
    await runtime.advance(1300); // the back-off of one call; two would take over 2 s
    expect(new Set(await Promise.all(all))).toEqual(new Set(["store-unavailable"]));
    expect(kinds()).toEqual(Array(10).fill("store-unavailable"));
  });
});
