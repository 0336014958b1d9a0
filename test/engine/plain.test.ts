/** Plain functions at their edges: whose key it is, and values that cannot be written down. */
import { describe, expect, it } from "vitest";
import { createEngine, idempotent } from "../../src/index.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { virtualRuntime } from "../support/virtual-runtime.ts";

interface Order {
  readonly id: string;
  readonly user?: unknown;
}

function setUp() {
  const runtime = virtualRuntime();
  return { runtime, engine: createEngine({ store: memoryStore({ now: runtime.nowMs }), runtime }) };
}

describe("the scope of a plain function", () => {
  it.each([[undefined], [null], [""], [7]])(
    "that yields %j refuses the call: it is never a scope shared by all (B-101)",
    async (user) => {
      const { engine } = setUp();
      let runs = 0;
      const options = { operation: "charge", key: (order: Order) => order.id };
      const scope = (order: Order) => order.user as string;
      const charge = idempotent(engine, () => (runs += 1), { ...options, scope });
      await expect(charge({ id: "a", user })).rejects.toThrow(/A scope says whose key it is/);
      const request = { operation: "charge", key: "a", input: { id: "a" } };
      const mine = engine.run({ ...request, scope: user as string }, () => (runs += 1));
      await expect(mine).rejects.toThrow(TypeError);
      expect(runs).toBe(0);
      expect(await idempotent(engine, () => "public", options)({ id: "a" })).toBe("public");
    },
  );

  it("that throws, and a key that does, reject like everything else", async () => {
    const { engine } = setUp();
    const name = ({ user }: Order) => (user as { readonly name: string }).name;
    const options = { operation: "charge", key: name };
    const charge = idempotent(engine, () => 1, options);
    await expect(charge({ id: "a" })).rejects.toThrow(TypeError);
    const scoped = idempotent(engine, () => 1, {
      operation: "o",
      key: ({ id }) => id,
      scope: name,
    });
    await expect(scoped({ id: "a" })).rejects.toThrow(TypeError);
  });
});

describe("a value that cannot be written down", () => {
  const transferred = new Uint8Array(8);
  structuredClone(transferred.buffer, { transfer: [transferred.buffer] });
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;

  it.each([
    ["bytes that were transferred away", transferred],
    ["a circle", circle],
    ["a BigInt", 1n],
    ["a function", () => 1],
    ["a symbol", Symbol("receipt")],
  ])("is omitted, and leaves no key claimed: %s", async (_name, value) => {
    const { engine, runtime } = setUp();
    const request = { operation: "charge", key: "k" };
    expect(await engine.run<unknown>(request, () => value)).toBe(value);
    expect(runtime.timers()).toBe(0);
    const again = engine.run<unknown>(request, () => "paid twice");
    await expect(again).rejects.toMatchObject({ code: "result-omitted" });
  });
});
