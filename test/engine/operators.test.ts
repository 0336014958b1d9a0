/** What operators say about records in doubt, through the engine, on every store. */
import { afterEach, describe, expect, it } from "vitest";
import { createEngine } from "../../src/index.ts";
import type { Claim, Engine, EngineEvent, Store, Word } from "../../src/index.ts";
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
const target = { operation: "charge", key: "k" };
const signed = { by: "ann", note: "asked the bank" };

/** An engine on a store, and one whose owner no longer reaches it once it has committed. */
async function setUp(open: (typeof stores)[number][1]) {
  const { store, clock, close } = await open();
  closers.push(close);
  const runtime = virtualRuntime();
  const events: EngineEvent[] = [];
  const options = { runtime, lease: "1s", retention: "1h" } as const;
  const engine = createEngine({ ...options, store, onEvent: (event) => void events.push(event) });
  const cut: Store = { ...store, renew: () => Promise.reject(new Error("unreachable")) };
  const cutOff = createEngine({ ...options, store: cut });
  const advance = async (ms: number): Promise<void> => {
    await clock.advance(ms);
    await runtime.advance(ms);
  };
  const kinds = () => events.map(({ kind }) => kind);
  return { store, clock, runtime, engine, cutOff, advance, kinds };
}

/** Leaves a committed claim behind, whose work ends when the test says so. */
async function abandon(engine: Engine, commits = true) {
  const ending = Promise.withResolvers<unknown>();
  const committed = Promise.withResolvers<void>();
  const outcome = engine.run(request, async (claim) => {
    await claim.step("reserve", () => "r-1");
    if (commits) await claim.commit();
    committed.resolve();
    return ending.promise;
  });
  outcome.catch(() => undefined); // told to whoever asks
  await committed.promise;
  return { outcome, end: ending.resolve };
}

function never(): never {
  throw new Error("It ran again.");
}

describe.each(stores)("a record in doubt on %s", (_name, open) => {
  it("is refused until an operator speaks, and takes over never happens (B-75)", async () => {
    const { engine, cutOff, clock, store } = await setUp(open);
    await abandon(cutOff);
    await expect(engine.run(request, never)).rejects.toMatchObject({ code: "in-progress" });
    await clock.advance(1000);
    for (let retry = 0; retry < 3; retry += 1) {
      await expect(engine.run(request, never)).rejects.toMatchObject({ code: "outcome-unknown" });
      await clock.advance(10_000);
    }
    const found = await engine.find(target);
    expect(found?.record).toMatchObject({ state: "in-doubt", committed: true, attempt: 1 });
    const { records } = await store.list({ state: "in-doubt" });
    expect(records.map(({ id }) => id)).toEqual([found?.id]);
    expect(records[0]?.record).not.toHaveProperty("steps");
  });

  it.each([
    [{ outcome: "completed", value: { receipt: 7 } }, { receipt: 7 }],
    [{ outcome: "completed", value: undefined }, undefined],
  ] as const)("is resolved as %j: retries get the value", async (said, value) => {
    const { engine, cutOff, clock, kinds } = await setUp(open);
    await abandon(cutOff);
    await clock.advance(1000);
    await expect(engine.run(request, never)).rejects.toMatchObject({ code: "outcome-unknown" });
    expect(await engine.resolve(target, { ...said, ...signed })).toBe("resolved");
    expect(await engine.run<unknown>(request, never)).toEqual(value);
    expect(kinds()).toEqual(["in-doubt", "resolved", "replayed"]);
    const other = engine.run({ ...request, input: 2 }, never);
    await expect(other).rejects.toMatchObject({ code: "key-reused" });
  });

  it.each([
    [{ outcome: "completed" }, "result-omitted"],
    [{ outcome: "failed" }, "failed"],
  ] as const)("is resolved as %j: retries reject with %s", async (said, code) => {
    const { engine, cutOff, clock } = await setUp(open);
    await abandon(cutOff);
    await clock.advance(1000);
    expect(await engine.resolve(target, { ...said, ...signed, retention: "5s" })).toBe("resolved");
    for (let retry = 0; retry < 2; retry += 1) {
      const refusal: unknown = await engine.run(request, never).catch((error: unknown) => error);
      expect(refusal).toMatchObject({ code });
      expect(String(refusal)).not.toMatch(/ann|bank/);
    }
    await clock.advance(5000);
    expect(await engine.run(request, () => "anew")).toBe("anew");
  });

  it("is resolved as not executed: the same input runs again, behind its steps", async () => {
    const { engine, cutOff, clock } = await setUp(open);
    await abandon(cutOff);
    await clock.advance(1000);
    const word = { outcome: "not-executed", ...signed } as const;
    expect(await engine.resolve(target, word)).toBe("resolved");
    const other = engine.run({ ...request, input: 2 }, never);
    await expect(other).rejects.toMatchObject({ code: "key-reused" });
    const again = async (claim: Claim) => [claim.attempt, await claim.step("reserve", never)];
    expect(await engine.run(request, again)).toEqual([2, "r-1"]);
    expect(await engine.resolve(target, word)).toBe("not-in-doubt");
  });
});

describe.each(stores)("a record in doubt on %s", (_name, open) => {
  it("keeps every operator's word, over several resolutions", async () => {
    const { engine, cutOff, clock, advance } = await setUp(open);
    const words: readonly Word[] = [
      { outcome: "not-executed", by: "ann", note: "nothing at the bank" },
      { outcome: "not-executed", by: "bob", note: "nothing yet; asked on the phone" },
      { outcome: "completed", value: "ch_1", by: "cy", note: "charge ch_1" },
    ];
    for (const word of words) {
      await abandon(cutOff);
      await advance(1000);
      expect(await engine.resolve(target, word)).toBe("resolved");
    }
    const found = await engine.find(target);
    expect(found?.record).toMatchObject({ state: "completed", attempt: 3 });
    const trail = found?.record.resolutions?.map(({ outcome, by, note, atMs }) => ({
      said: { outcome, by, note },
      ageMs: clock.nowMs() - atMs,
    }));
    expect(trail?.map(({ said }) => said)).toEqual(
      words.map(({ outcome, by, note }) => ({ outcome, by, note })),
    );
    expect(trail?.map(({ ageMs }) => ageMs)).toEqual([2000, 1000, 0]);
  });

  it("hears exactly one of several operators", async () => {
    const { engine, cutOff, clock, kinds } = await setUp(open);
    await abandon(cutOff);
    await clock.advance(1000);
    const words = Array.from({ length: 10 }, (_, index): Word => {
      const by = { by: `ops-${index}`, note: "n" };
      return index % 2 === 0
        ? { outcome: "not-executed", ...by }
        : { outcome: "failed", retention: "1h", ...by };
    });
    const replies = await Promise.all(words.map((word) => engine.resolve(target, word)));
    expect(replies.filter((reply) => reply === "resolved")).toHaveLength(1);
    const winner = words[replies.indexOf("resolved")];
    const found = await engine.find(target);
    expect(found?.record.resolutions).toMatchObject([{ by: winner?.by, outcome: winner?.outcome }]);
    expect(kinds().filter((kind) => kind === "resolved")).toHaveLength(1);
  });

  it("is healed by its late owner, whose result then is the answer", async () => {
    const { engine, cutOff, advance } = await setUp(open);
    const { outcome, end } = await abandon(cutOff);
    await advance(1000);
    await expect(engine.run(request, never)).rejects.toMatchObject({ code: "outcome-unknown" });
    end("late receipt");
    expect(await outcome).toBe("late receipt");
    expect(await engine.run<unknown>(request, never)).toBe("late receipt");
    expect(await engine.resolve(target, { outcome: "failed", ...signed })).toBe("not-in-doubt");
    expect(await engine.run<unknown>(request, never)).toBe("late receipt");
  });

  it("is not given back to an owner whose work was called not executed", async () => {
    const { engine, cutOff, advance, store } = await setUp(open);
    const { outcome, end } = await abandon(cutOff);
    await advance(1000);
    await engine.resolve(target, { outcome: "not-executed", ...signed });
    end("late receipt");
    expect(await outcome).toBe("late receipt"); // its own caller gets the truth
    await cutOff.close();
    expect((await store.attention()).notes).toMatchObject([{ reason: "lease-lost" }]);
    expect(await engine.run(request, (claim) => claim.attempt)).toBe(2);
  });
});

describe.each(stores)("an owner that comes late on %s", (_name, open) => {
  it.each(["completed", "failed"] as const)(
    "is told that an operator has said %s, and so is whoever looks after it",
    async (said) => {
      const { engine, cutOff, advance, store } = await setUp(open);
      const { outcome, end } = await abandon(cutOff);
      await advance(1000);
      expect(await engine.resolve(target, { outcome: said, ...signed })).toBe("resolved");
      const before = await engine.find(target);
      end("late receipt");
      expect(await outcome).toBe("late receipt"); // its own caller gets the truth
      await cutOff.close();
      expect((await store.attention()).notes).toMatchObject([{ reason: "lease-lost" }]);
      expect(await engine.find(target)).toEqual(before);
    },
  );
});

describe.each(stores)("an operator's word on %s", (_name, open) => {
  it("is heard though nobody has asked since the owner died", async () => {
    const { engine, cutOff, clock, store } = await setUp(open);
    await abandon(cutOff);
    expect(await engine.resolve(target, { outcome: "failed", ...signed })).toBe("not-in-doubt");
    await clock.advance(999);
    expect(await engine.resolve(target, { outcome: "failed", ...signed })).toBe("not-in-doubt");
    await clock.advance(1);
    const [id] = (await store.list()).records.map((entry) => entry.id);
    expect(await engine.resolve(String(id), { outcome: "failed", ...signed })).toBe("resolved");
  });

  it("changes nothing where nothing is in doubt", async () => {
    const { engine, cutOff, clock } = await setUp(open);
    const word = { outcome: "not-executed", ...signed } as const;
    expect(await engine.resolve(target, word)).toBe("not-in-doubt");
    await abandon(cutOff, false);
    await clock.advance(1000);
    const before = await engine.find(target);
    expect(await engine.resolve(target, word)).toBe("not-in-doubt");
    expect(await engine.find(target)).toEqual(before);
    await engine.run(request, () => "taken over");
    expect(await engine.resolve(target, word)).toBe("not-in-doubt");
    expect(await engine.run<unknown>(request, never)).toBe("taken over");
  });
});

describe.each(stores)("an operator's word on an attempt, on %s", (_name, open) => {
  it("counts only for the attempt that was looked into", async () => {
    const { engine, cutOff, advance } = await setUp(open);
    const word = { outcome: "not-executed", attempt: 1, ...signed } as const;
    for (const reply of ["resolved", "not-in-doubt"]) {
      await abandon(cutOff);
      await advance(1000);
      expect(await engine.resolve(target, word)).toBe(reply);
    }
    expect((await engine.find(target))?.record).toMatchObject({ state: "in-doubt", attempt: 2 });
  });

  it("is not heard on an attempt that began while it was on its way", async () => {
    const { store, engine, cutOff, advance } = await setUp(open);
    await abandon(cutOff);
    await advance(1000);
    const word = { outcome: "not-executed", ...signed } as const;
    const slow: Store = {
      ...store,
      resolve: async (id, command) => {
        await engine.resolve(target, word); // somebody else's
        await abandon(cutOff);
        await advance(1000);
        return store.resolve(id, command);
      },
    };
    const late = createEngine({ store: slow, runtime: virtualRuntime() });
    expect(await late.resolve(target, word)).toBe("not-in-doubt");
    const found = await engine.find(target);
    expect(found?.record).toMatchObject({ state: "in-doubt", attempt: 2 });
    expect(found?.record.resolutions).toHaveLength(1);
  });
});

describe.each(stores)("an operator's word once heard, on %s", (_name, open) => {
  it("takes the record's notes off the list and sends its waiters on", async () => {
    const { engine, cutOff, clock, store, kinds } = await setUp(open);
    await abandon(cutOff);
    const found = await engine.find(target);
    if (found === undefined) throw new Error("There is no record.");
    await store.note({ id: found.id, reason: "lease-lost", operation: "charge" });
    const waiting = engine.run<unknown>({ ...request, wait: "9s" }, never);
    waiting.catch(() => undefined); // asked below
    await expect.poll(kinds).toContain("waited");
    await clock.advance(1000);
    await engine.resolve(target, { outcome: "completed", value: "paid", ...signed });
    expect(await waiting).toBe("paid"); // though its clock stands still
    expect((await store.attention()).notes).toEqual([]);
  });
});

describe("an operator's word", () => {
  it("that was heard, but whose reply was lost, is known again", async () => {
    const { store, engine, cutOff, advance, runtime } = await setUp(memorySubject);
    await abandon(cutOff);
    await advance(1000);
    let lost = 0;
    const resolve: Store["resolve"] = async (...args) => {
      const reply = await store.resolve(...args);
      if ((lost += 1) === 1) throw new Error("the reply was lost");
      return reply;
    };
    const flaky = createEngine({ store: { ...store, resolve }, runtime });
    const word = { outcome: "completed", value: 1, ...signed } as const;
    const said = flaky.resolve(target, word);
    await runtime.advance(1000);
    expect([await said, lost]).toEqual(["resolved", 2]);
    expect((await engine.find(target))?.record.resolutions).toHaveLength(1);
    lost = 0;
    const again = flaky.resolve(target, { ...word, by: "bob" });
    await runtime.advance(1000);
    expect(await again).toBe("not-in-doubt");
  });

  it("takes no claim along from an owner that gives up just then", async () => {
    const { store, engine, runtime } = await setUp(memorySubject);
    const started = Promise.withResolvers<void>();
    const ending = Promise.withResolvers<never>();
    const patient = createEngine({ store, runtime, lease: "1s", onAbandoned: "in-doubt" });
    const outcome = patient.run(request, () => {
      started.resolve();
      return ending.promise;
    });
    await started.promise;
    const get: Store["get"] = async (id) => {
      const record = await store.get(id);
      ending.reject(new Error("gave up"));
      await expect(outcome).rejects.toThrow("gave up");
      return record;
    };
    const operators = createEngine({ store: { ...store, get }, runtime });
    const word = { outcome: "failed", ...signed } as const;
    expect(await operators.resolve(target, word)).toBe("not-in-doubt");
    expect((await engine.find(target))?.record).toMatchObject({ state: "released" });
    expect(await engine.run(request, () => "executed")).toBe("executed");
  });

  it.each([
    [/by must be a text of 1 to 200/, { by: "" }],
    [/by must be/, { by: "x".repeat(201) }],
    [/note must be a text of 1 to 1000/, { note: " " }],
    [/note must be/, { note: "x".repeat(1001) }],
    [/note must be/, { note: undefined }],
    [/outcome must be .* got "done"/, { outcome: "done" }],
    [/What failed has no value/, { outcome: "failed", value: 1 }],
    [/not executed has no retention/, { outcome: "not-executed", retention: "1h" }],
    [/value must be what JSON can say/, { value: () => 1 }],
    [/result must be a recorded result/, { result: Uint8Array.of(9, 9) }],
    [/retention must be a duration/, { retention: "soon" }],
    [/attempt must be a whole number/, { attempt: 0 }],
  ])("that is not whole is refused before any store call: %s", async (words, flaw) => {
    const { engine } = await setUp(memorySubject);
    const word = { outcome: "completed", ...signed, ...flaw } as Word;
    const refusal: unknown = await engine.resolve(target, word).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(TypeError);
    expect(String(refusal)).toMatch(words);
    await expect(engine.find("no id!")).rejects.toThrow(TypeError);
    await expect(engine.find({ ...target, key: "" })).rejects.toMatchObject({
      code: "key-invalid",
    });
  });
});
