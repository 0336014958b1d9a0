/**
 * The engine around its codecs: results and steps through one seal, what cannot be opened, values
 * that are redacted, and names under a secret.
 */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createEngine, idempotent } from "../../src/index.ts";
import type { Claim, EngineEvent, EngineOptions } from "../../src/index.ts";
import { encrypted } from "../../src/engine/results/results.ts";
import { namesOf } from "../../src/engine/values/key.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { virtualRuntime } from "../support/virtual-runtime.ts";

const keys = { one: randomBytes(32), two: randomBytes(32) };
const request = { operation: "charge", key: "k", input: { amount: 1 } };
const locked = { code: "store-corrupt" };

function setUp() {
  const runtime = virtualRuntime();
  const store = memoryStore({ now: runtime.nowMs });
  const events: EngineEvent[] = [];
  const onEvent = (event: EngineEvent) => void events.push(event);
  const engineWith = (options: Partial<EngineOptions> = {}) =>
    createEngine({ store, runtime, onEvent, ...options });
  return { runtime, store, events, engineWith, kinds: () => events.map(({ kind }) => kind) };
}

const sealedBy = (current: keyof typeof keys) => ({
  results: [encrypted({ keys: { [current]: keys[current] }, current })],
});

describe("a result that cannot be opened", () => {
  it("is an error and an event, never a second run (B-97)", async () => {
    const { engineWith, kinds } = setUp();
    expect(await engineWith(sealedBy("one")).run(request, () => "paid")).toBe("paid");
    const other = engineWith(sealedBy("two"));
    await expect(other.run(request, () => "paid twice")).rejects.toMatchObject(locked);
    await expect(engineWith().run(request, () => "paid twice")).rejects.toMatchObject(locked);
    expect(kinds()).toEqual(["executed", "store-corrupt", "replayed", "store-corrupt"]);
  });

  it("is not retried: the store has answered", async () => {
    const { store, engineWith } = setUp();
    await engineWith(sealedBy("one")).run(request, () => "paid");
    let claims = 0;
    const claim: typeof store.claim = (...all) => {
      claims += 1;
      return store.claim(...all);
    };
    const other = engineWith({ ...sealedBy("two"), store: { ...store, claim } });
    await expect(other.run(request, () => 1)).rejects.toMatchObject(locked);
    expect(claims).toBe(1);
  });
});

describe("steps", () => {
  const order = async (claim: Claim) => {
    const charge = await claim.step("charge", () => `charged in attempt ${claim.attempt}`);
    if (claim.attempt === 1) throw new Error("afterwards");
    return charge;
  };

  it("are sealed like results, and resumed", async () => {
    const { store, engineWith } = setUp();
    const engine = engineWith(sealedBy("one"));
    await expect(engine.run(request, order)).rejects.toThrow("afterwards");
    const { records } = await store.list();
    const record = await store.get(records[0]?.id as never);
    const bytes = record?.state === "released" ? record.steps?.["charge"] : undefined;
    expect(Buffer.from(bytes ?? "charged").includes("charged")).toBe(false);
    expect(await engine.run(request, order)).toBe("charged in attempt 1");
  });

  it("that cannot be opened run nothing, and leave the key to whoever can", async () => {
    const { runtime, engineWith, kinds } = setUp();
    await expect(engineWith(sealedBy("one")).run(request, order)).rejects.toThrow("afterwards");
    let runs = 0;
    const other = engineWith(sealedBy("two"));
    await expect(other.run(request, () => (runs += 1))).rejects.toMatchObject(locked);
    await other.close();
    expect([runs, runtime.timers()]).toEqual([0, 0]);
    expect(kinds()).toEqual(["released", "store-corrupt"]);
    expect(await engineWith(sealedBy("one")).run(request, order)).toBe("charged in attempt 1");
  });

  it("do not open as another step's, nor as the result", async () => {
    const { store, engineWith } = setUp();
    const step: typeof store.step = (id, given) => store.step(id, { ...given, name: "mail" });
    const engine = engineWith({ ...sealedBy("one"), store: { ...store, step } });
    await expect(engine.run(request, order)).rejects.toThrow("afterwards");
    await expect(engine.run(request, order)).rejects.toMatchObject(locked);
  });
});

describe("what a codec refuses to seal", () => {
  const strict = {
    name: "strict",
    seal: (bytes: Uint8Array): Uint8Array => {
      if (Buffer.from(bytes).includes("4242")) throw new RangeError("4242 must not be kept");
      return bytes;
    },
    open: (stored: Uint8Array) => stored,
  };

  it("is omitted and told without its words: the work never runs again", async () => {
    const { engineWith, events, kinds } = setUp();
    const engine = engineWith({ results: [strict] });
    expect(await engine.run(request, () => "4242")).toBe("4242");
    const again = engine.run(request, () => "paid twice");
    await expect(again).rejects.toMatchObject({ code: "result-omitted" });
    expect(kinds()).toEqual(["seal-failed", "executed", "replayed"]);
    expect(String(events[0]?.cause)).toMatch(/^Error: A codec threw a RangeError/);
    expect(String(events[0]?.cause)).not.toContain("4242");
  });

  it("is omitted as a step, too, and locked where nothing can be sealed at all", async () => {
    const { engineWith } = setUp();
    let charges = 0;
    const order = async (claim: Claim) => {
      await claim.step("charge", () => `4242 ${(charges += 1)}`);
      throw new Error("afterwards");
    };
    const engine = engineWith({ results: [strict] });
    await expect(engine.run(request, order)).rejects.toThrow("afterwards");
    await expect(engine.run(request, order)).rejects.toMatchObject({ code: "result-omitted" });
    expect(charges).toBe(1);
    const mute = { ...strict, seal: () => strict.seal(Buffer.from("4242")) };
    const sealing = engineWith({ results: [mute, ...sealedBy("one").results] });
    const other = { ...request, key: "other" };
    expect(await sealing.run(other, () => "paid")).toBe("paid");
    await expect(sealing.run(other, () => "paid twice")).rejects.toMatchObject(locked);
  });
});

describe("a redacted value", () => {
  const masked = (charge: { readonly card: string }) => ({ ...charge, card: "****" });

  it("is what a repeated call gets; the first one gets the original", async () => {
    const { engineWith } = setUp();
    const charge = (order: { readonly id: string }) => ({ card: "4242", paid: order.id });
    const chargeOnce = idempotent(engineWith(), charge, {
      operation: "charge",
      key: (order) => order.id,
      redact: masked,
    });
    expect(await chargeOnce({ id: "a" })).toEqual({ card: "4242", paid: "a" });
    expect(await chargeOnce({ id: "a" })).toEqual({ card: "****", paid: "a" });
  });

  it.each([
    ["throws", () => JSON.parse("4242 is not JSON") as never],
    ["is asynchronous", async () => "****" as never],
  ])("is omitted when redact %s, and told without its words", async (_name, redact) => {
    const { engineWith, events, kinds } = setUp();
    const engine = engineWith();
    const once = { ...request, redact: redact as () => never };
    expect(await engine.run(once, () => "4242")).toBe("4242");
    await expect(engine.run(once, () => "4242")).rejects.toMatchObject({ code: "result-omitted" });
    expect(kinds()).toEqual(["redact-failed", "executed", "replayed"]);
    expect(String(events[0]?.cause)).toMatch(/^Error: redact (threw|returned)/);
    expect(String(events[0]?.cause)).not.toContain("4242");
  });
});

describe("a secret", () => {
  const [one, other] = ["s".repeat(32), Buffer.alloc(32, 7)] as const;

  it("names records, fingerprints and derived keys, all three its own way", () => {
    const all = [undefined, one, other].map((secret) => {
      const { recordId, fingerprint, derivedKey } = namesOf(secret);
      const id = recordId("scope", "charge", "k");
      return [id, fingerprint("asked" as never), derivedKey("id" as never, "card")];
    });
    expect(new Set(all.flat()).size).toBe(9);
    expect(new Set(all.flat().map((name) => name.length))).toEqual(new Set([32, 43, 5]));
    expect(namesOf(Buffer.from(one)).recordId("a", "b", "c")).toBe(
      namesOf(one).recordId("a", "b", "c"),
    );
  });

  it("opens a key space of its own: another secret runs again", async () => {
    const { store, engineWith } = setUp();
    const engines = [engineWith({ secret: one }), engineWith({ secret: one }), engineWith()];
    const runs: number[] = [];
    for (const [index, engine] of engines.entries()) {
      runs.push(await engine.run(request, () => index));
    }
    expect(runs).toEqual([0, 0, 2]);
    await expect(engines[0]?.run({ ...request, input: 2 }, () => 1)).rejects.toMatchObject({
      code: "key-reused",
    });
    expect((await store.list()).records).toHaveLength(2);
  });

  it("has at least 32 bytes, and is never shown", () => {
    const { store } = setUp();
    for (const secret of ["", "short secret", "s".repeat(31), Buffer.alloc(31), 5]) {
      const create = () => createEngine({ store, secret: secret as string });
      expect(create).toThrow(/^secret must be .* of at least 32 bytes\. Make one with/);
    }
  });
});

describe("createEngine", () => {
  it("refuses an option it does not know, such as a misspelt secret", () => {
    const { store } = setUp();
    const wrong = { store, secrets: "s".repeat(32) } as EngineOptions;
    expect(() => createEngine(wrong)).toThrow(/does not know the option "secrets"/);
    expect(() => createEngine({ store, results: {} as never })).toThrow(/list of codecs/);
  });
});
