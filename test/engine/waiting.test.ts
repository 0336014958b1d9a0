/** Waiters whose owner is in another engine: woken by the store, polling where it cannot. */
import { describe, expect, it } from "vitest";
import { createEngine, isLatchkeyError } from "../../src/index.ts";
import type { Engine, Store } from "../../src/index.ts";
import type { RecordId } from "../../src/machine/record.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { virtualRuntime } from "../support/virtual-runtime.ts";

const request = { operation: "charge", key: "k", input: { amount: 1 } };
const codeOf = (error: unknown) => (isLatchkeyError(error) ? error.code : error);

interface Watched {
  readonly id: RecordId;
  readonly nudge: () => void;
}

/** Two engines on one store, as two processes are; `watch` may be replaced. */
function setUp(replace: Partial<Store> = {}) {
  const runtime = virtualRuntime();
  const memory = memoryStore({ now: runtime.nowMs });
  const calls = { claims: 0 };
  const watched = new Set<Watched>();
  const store: Store = {
    ...memory,
    claim: async (id, claim) => {
      calls.claims += 1;
      return memory.claim(id, claim);
    },
    watch: async (id, onNudge) => {
      const stop = await memory.watch?.(id, onNudge);
      const entry = { id, nudge: onNudge };
      watched.add(entry);
      return () => {
        watched.delete(entry);
        stop?.();
      };
    },
    ...replace,
  };
  const lease = "2s";
  const owner = createEngine({ store, runtime, lease });
  const other = createEngine({ store, runtime, lease });
  return { runtime, store, watched, calls, owner, other };
}

/** Work that ends when it is told to. */
function begun(engine: Engine) {
  const gate = Promise.withResolvers<string>();
  return { ...gate, answer: engine.run(request, () => gate.promise) };
}

describe("a waiter whose owner is elsewhere", () => {
  it("is woken by the store, without polling, and leaves nothing behind (B-49)", async () => {
    const { runtime, watched, calls, owner, other } = setUp();
    const first = begun(owner);
    const second = other.run({ ...request, wait: "20s" }, () => "second");
    await runtime.advance(1);
    expect(watched.size).toBe(1);
    expect(calls.claims).toBe(3); // the owner's, the waiter's, and once more when it listened
    await runtime.advance(1000);
    expect(calls.claims).toBe(3);
    first.resolve("first");
    await runtime.advance(0);
    expect(await second).toBe("first");
    expect(calls.claims).toBe(4);
    await first.answer;
    expect([watched.size, runtime.timers()]).toEqual([0, 0]);
  });

  it("is not left waiting by what ended before the store listened", async () => {
    const listening = Promise.withResolvers<() => void>();
    const { runtime, owner, other } = setUp({ watch: () => listening.promise });
    const first = begun(owner);
    const second = other.run({ ...request, wait: "20s" }, () => "second");
    await runtime.advance(1);
    first.resolve("first");
    await first.answer;
    listening.resolve(() => undefined);
    await runtime.advance(0);
    expect(await second).toBe("first");
  });

  it("is not left waiting by what ended while its claim was on its way", async () => {
    const { runtime, store, owner } = setUp();
    const slow: (() => void)[] = []; // replies of the waiter that are on their way
    const claim: Store["claim"] = async (...args) => {
      const reply = await store.claim(...args);
      await new Promise<void>((resolve) => slow.push(resolve));
      return reply;
    };
    const other = createEngine({ store: { ...store, claim }, runtime, lease: "2s" });
    const first = begun(owner);
    const second = other.run({ ...request, wait: "20s" }, () => "second");
    await runtime.advance(1);
    slow.shift()?.();
    await runtime.advance(1); // it listens, and its second claim is answered "in progress"
    first.resolve("first");
    await first.answer;
    slow.shift()?.();
    await runtime.advance(1);
    slow.shift()?.();
    await runtime.advance(1);
    let answer: unknown;
    void second.then((value) => (answer = value));
    await runtime.advance(0);
    expect(answer).toBe("first");
  });

  it("takes over from a dead owner at the end of its lease (B-51)", async () => {
    const { runtime, store, watched, other } = setUp();
    const dead = createEngine({
      store: { ...store, renew: () => Promise.reject(new Error("dead")) },
      runtime,
      lease: "2s",
    });
    void dead.run(request, () => new Promise(() => undefined));
    const second = other.run({ ...request, wait: "20s" }, (claim) => claim.attempt);
    await runtime.advance(1990);
    expect(watched.size).toBe(1);
    await runtime.advance(20);
    expect(await second).toBe(2);
    expect(watched.size).toBe(0);
  });

  it("polls where the store cannot watch, or fails to (B-51)", async () => {
    const failing = () => Promise.reject(new Error("no such channel"));
    const never = () => new Promise<never>(() => undefined);
    for (const watch of [undefined, failing, never]) {
      const { runtime, store } = setUp();
      const deaf = Object.fromEntries(Object.entries(store).filter(([name]) => name !== "watch"));
      const used = { ...deaf, ...(watch && { watch }) } as unknown as Store;
      const owner = createEngine({ store: used, runtime });
      const other = createEngine({ store: used, runtime });
      const first = begun(owner);
      const second = other.run({ ...request, wait: "20s" }, () => "second");
      await runtime.advance(1);
      first.resolve("first");
      await runtime.advance(251);
      expect(await second).toBe("first");
    }
  });

  it("polls slowly in case a nudge is lost", async () => {
    const { runtime, owner, other } = setUp({ watch: async () => () => undefined });
    const first = begun(owner);
    const second = other.run({ ...request, wait: "20s" }, () => "second");
    await runtime.advance(1);
    first.resolve("first");
    await runtime.advance(2001);
    expect(await second).toBe("first");
  });

  it("never gets the response of another body that has claimed the key since", async () => {
    const { runtime, store, watched, owner, other } = setUp();
    const first = begun(owner);
    const second = other.run({ ...request, wait: "20s" }, () => "second").catch(codeOf);
    await runtime.advance(1);
    const [entry] = watched;
    await store.forget(entry?.id as RecordId);
    await owner.run({ ...request, input: { amount: 2 } }, () => "another body's");
    await runtime.advance(0);
    expect(await second).toBe("key-reused");
    first.resolve("late");
    await first.answer;
  });

  it("ends its watch when its budget is over or its client goes away (B-50, B-52)", async () => {
    const { runtime, watched, owner, other } = setUp();
    const first = begun(owner);
    const second = other.run({ ...request, wait: "1s" }, () => "second").catch(codeOf);
    await runtime.advance(1000);
    expect([await second, watched.size]).toEqual(["in-progress", 0]);
    const abort = new AbortController();
    const fingerprint = "f" as never;
    const intent = { operation: "o", scope: "s", key: "k2", fingerprint };
    const held = await owner.begin(intent);
    const gone = other.begin({ ...intent, waitMs: 5000, signal: abort.signal });
    await runtime.advance(1);
    expect(watched.size).toBe(1);
    abort.abort();
    expect([held.kind, (await gone).kind, watched.size]).toEqual(["execute", "in-progress", 0]);
    first.resolve("first");
    await first.answer;
  });

  it("claims nothing for a client that went away as the owner released (B-52)", async () => {
    const { runtime, calls, owner, other } = setUp();
    const abort = new AbortController();
    const intent = { operation: "o", scope: "s", key: "k2", fingerprint: "f" as never };
    const held = await owner.begin(intent);
    const gone = other.begin({ ...intent, waitMs: 5000, signal: abort.signal });
    await runtime.advance(1);
    const before = calls.claims;
    const released = held.kind === "execute" ? held.claim.release() : undefined;
    abort.abort();
    await runtime.advance(1);
    expect([await released, (await gone).kind]).toEqual(["released", "in-progress"]);
    expect(calls.claims).toBe(before);
  });

  it("ends a watch that is confirmed only after it left", async () => {
    const listening = Promise.withResolvers<() => void>();
    const { runtime, owner, other } = setUp({ watch: () => listening.promise });
    const first = begun(owner);
    const second = other.run({ ...request, wait: "1s" }, () => "second").catch(codeOf);
    await runtime.advance(1000);
    expect(await second).toBe("in-progress");
    let ended = 0;
    listening.resolve(() => (ended += 1));
    await runtime.advance(0);
    expect(ended).toBe(1);
    first.resolve("first");
    await first.answer;
  });
});
