/**
 * Fingerprints, record ids and envelopes as properties: what must be equal is, what must differ
 * does.
 */
import { runInNewContext } from "node:vm";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeEnvelope, encodeEnvelope } from "../../src/engine/values/codec.ts";
import { canonicalJson, fingerprintOf } from "../../src/engine/values/fingerprint.ts";
import { checkKey, namesOf } from "../../src/engine/values/key.ts";

describe("canonical JSON", () => {
  it("says a value the same whatever the order of its keys (B-62)", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(reversed(value))).toBe(text);
      }),
    );
  });

  it("refuses an object of which JSON keeps nothing: two of them must not look alike", () => {
    class Money {
      readonly #amount: number;
      constructor(amount: number) {
        this.#amount = amount;
      }
      get amount(): number {
        return this.#amount;
      }
    }
    const opaque = [new Money(5), Uint8Array.of(1).buffer, new Blob(["a"]), /a/, new Error("a")];
    for (const value of [...opaque, new URLSearchParams("a=1"), Promise.resolve(1)]) {
      expect(() => canonicalJson({ value })).toThrow(/no fingerprint/);
    }
    const otherRealm: unknown = runInNewContext("({ plain: {}, list: [] })");
    expect(canonicalJson(otherRealm)).toBe('{"list":[],"plain":{}}');
    class Order {
      readonly amount = 1;
    }
    expect(canonicalJson([{}, Object.create(null), new Order(), new Uint8Array(0)])).toBe(
      '[{},{},{"amount":1},{}]',
    );
  });

  it("refuses what JSON would quietly change, and depths that would break the stack", () => {
    for (const value of [Number.NaN, 1n, new Map(), () => 1]) {
      expect(() => canonicalJson({ value })).toThrow(TypeError);
    }
    const deep: unknown = JSON.parse("[".repeat(100_000) + "]".repeat(100_000));
    expect(() => canonicalJson(deep)).toThrow(RangeError);
  });
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toReversed();
  const copy: Record<string, unknown> = Object.create(null);
  for (const [name, member] of entries) copy[name] = reversed(member);
  return copy;
}

describe("fingerprints and record ids", () => {
  it("keep nothing, empty and {} apart (B-65)", () => {
    const all = [
      fingerprintOf(["t"], { kind: "none" }),
      fingerprintOf(["t"], { kind: "bytes", bytes: new Uint8Array(0) }),
      fingerprintOf(["t"], { kind: "bytes", bytes: Buffer.from("{}") }),
      fingerprintOf(["t"], { kind: "json", value: {} }),
    ];
    expect(new Set(all).size).toBe(4);
  });

  it.each([[undefined], ["s".repeat(32)]])(
    "never coincide for different parts (B-14)",
    (secret) => {
      const { recordId } = namesOf(secret);
      const part = fc.string({
        maxLength: 4,
        unit: fc.constantFrom("a", ":", "1", "{", "\0", "s"),
      });
      const parts = fc.tuple(part, part, part);
      fc.assert(
        fc.property(parts, parts, (one, other) => {
          const same = one.every((value, index) => value === other[index]);
          expect(recordId(...one) === recordId(...other)).toBe(same);
        }),
        { numRuns: 2000 },
      );
    },
  );

  it("take keys of 1 to 255 visible characters only (B-9, B-10)", () => {
    for (const key of ["", " ", "x".repeat(256), "a\nb", "ü", "\0"]) {
      expect(() => checkKey(key)).toThrow(/visible ASCII/);
    }
    expect(checkKey("x".repeat(255))).toHaveLength(255);
  });
});

describe("envelopes", () => {
  it("give back every head and body (S-8)", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.uint8Array(), (head, body) => {
        const read = decodeEnvelope(encodeEnvelope("http", head, body));
        expect(read.kind).toBe("http");
        expect(read.head).toEqual(JSON.parse(JSON.stringify(head)));
        expect(Buffer.compare(read.body, body)).toBe(0);
      }),
    );
  });

  it("refuse torn bytes and other versions (B-97)", () => {
    const whole = encodeEnvelope("http", { status: 200 }, Uint8Array.of(1));
    const other = whole.with(0, 9);
    for (const bytes of [new Uint8Array(0), whole.subarray(0, 8), other]) {
      expect(() => decodeEnvelope(bytes)).toThrow(/cannot be read/);
    }
  });
});
