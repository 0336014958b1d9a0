/**
 * What becomes of results on their way to the store and back, as properties: the same bytes in
 * their own place, and nothing at all anywhere else.
 */
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { constants, createBrotliCompress } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compressed, encrypted } from "../../src/engine/results/results.ts";
import type { ResultCodec, ResultPlace } from "../../src/engine/results/results.ts";
import { codecOf } from "../../src/engine/results/result-codec.ts";
import { isLatchkeyError } from "../../src/index.ts";

const keys = { one: randomBytes(32), two: randomBytes(32) };
const sealing = () => encrypted({ keys, current: "one" });
const here = { id: "id", fingerprint: "print", part: ["result"] } as unknown as ResultPlace;

/** What lies in stores already: the layout may grow, but this must stay readable. */
const firstVersion = {
  compressed: "c1000005dc8bed020080aaaaaaeaff74a5f39500e8c2378603b8f895265515361873eca8bb881f33",
  encrypted: "e107323032362d3131574419a040c1537d0227ecaafdb45e1440cc723a37ad99d9330f9e72aecb26f5",
};

const small = fc.uint8Array({ maxLength: 64 });
const repetitive = fc
  .tuple(small, fc.integer({ min: 0, max: 400 }))
  .map(([bytes, times]) => new Uint8Array(Buffer.concat(Array(times).fill(bytes))));
const anyBytes = fc.oneof(small, fc.uint8Array({ maxLength: 4096 }), repetitive);

/** Code of what opening throws; the bytes when it does not. */
function opened(codec: ResultCodec, bytes: Uint8Array, place = here): unknown {
  try {
    return codec.open(bytes, place);
  } catch (error) {
    return isLatchkeyError(error) ? error.code : error;
  }
}

const settings: readonly (readonly [string, readonly ResultCodec[]])[] = [
  ["no codec", []],
  ["compressed()", [compressed()]],
  ["compressed({ minBytes: 1 })", [compressed({ minBytes: 1 })]],
  ["encrypted()", [sealing()]],
  ["both", [compressed({ minBytes: 32 }), sealing()]],
];

/** Zeros by the mebibyte, in a few bytes of Brotli; made in pieces, so as not to hold them all. */
async function bombOf(mebibytes: number): Promise<Buffer> {
  const zeros = Buffer.alloc(1_048_576);
  const quickest = createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 0 } });
  return buffer(Readable.from(Array(mebibytes).fill(zeros)).pipe(quickest));
}

describe.each(settings)("results through %s", (_name, codecs) => {
  const codec = codecOf(codecs);

  it("come back byte for byte", () => {
    const marks = [0xc0, 0xc1, 0xe1, 0x01].map((mark) => Uint8Array.of(mark, 1, 0, 0, 0, 9));
    for (const bytes of marks) {
      expect(Buffer.compare(codec.open(codec.seal(bytes, here), here), bytes)).toBe(0);
    }
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const before = Uint8Array.from(bytes);
        const back = codec.open(codec.seal(bytes, here), here);
        expect(Buffer.compare(back, before)).toBe(0);
        expect(Buffer.compare(bytes, before)).toBe(0);
      }),
    );
  });
});

describe("compressed()", () => {
  it("makes a kibibyte and more smaller, and leaves alone what does not shrink", () => {
    const { seal } = compressed();
    const text = Buffer.from(JSON.stringify({ receipt: "r".repeat(64_000) }));
    expect(seal(text, here).length).toBeLessThan(500);
    const noise = randomBytes(4096).fill(1, 0, 1);
    expect(seal(noise, here)).toBe(noise);
    const short = Buffer.alloc(1023, 1);
    expect(seal(short, here)).toBe(short);
  });

  it("reads what was recorded before it was switched on", () => {
    const plain = Uint8Array.of(1, 2, 3);
    expect(compressed().open(plain, here)).toBe(plain);
  });

  it("never unpacks more than its header says, nor more than its limit", async () => {
    const codec = codecOf([compressed({ maxBytes: 100_000 })]);
    const mebibytes = 128;
    const bomb = await bombOf(mebibytes);
    const before = process.resourceUsage().maxRSS;
    const saying = (length: number): Buffer => {
      const header = Buffer.from([0xc1, 0, 0, 0, 0]);
      header.writeUInt32BE(length, 1);
      return Buffer.concat([header, bomb]);
    };
    for (const length of [0, 1000, 100_000, 10_000_000, 0xffffffff]) {
      expect(opened(codec, saying(length))).toBe("store-corrupt");
    }
    expect(process.resourceUsage().maxRSS - before).toBeLessThan((mebibytes / 4) * 1024);
  });

  it("reads what the first version wrote", () => {
    const bytes = compressed().open(Buffer.from(firstVersion.compressed, "hex"), here);
    expect(String(bytes)).toBe("paid ".repeat(300));
  });

  it("refuses torn bytes", () => {
    const codec = codecOf([compressed({ minBytes: 1 })]);
    const whole = codec.seal(Buffer.from(JSON.stringify(Array(100).fill("abc"))), here);
    expect(whole[0]).toBe(0xc1);
    for (let length = 1; length < whole.length; length += 1) {
      expect(opened(codec, whole.subarray(0, length))).toBe("store-corrupt");
    }
  });

  it("refuses wrong options", () => {
    expect(() => compressed({ minBytes: 0.5 })).toThrow(/minBytes must be a whole number/);
    expect(() => compressed({ maxBytes: Infinity })).toThrow(/maxBytes must be a whole number/);
    const reader = compressed({ minBytes: Infinity });
    const bytes = Buffer.alloc(4096);
    expect(reader.seal(bytes, here)).toBe(bytes);
  });
});

describe("encrypted()", () => {
  it("shows nothing of what it sealed, and never the same bytes twice", () => {
    const codec = sealing();
    const secret = Buffer.from("4242 4242 4242 4242");
    const [one, two] = [codec.seal(secret, here), codec.seal(secret, here)];
    expect(Buffer.from(one).includes("4242")).toBe(false);
    expect(Buffer.compare(one, two)).not.toBe(0);
  });

  it("reads what the first version wrote", () => {
    const codec = encrypted({ keys: { "2026-11": Buffer.alloc(32, 7) }, current: "2026-11" });
    expect(String(codec.open(Buffer.from(firstVersion.encrypted, "hex"), here))).toBe("paid");
  });

  it("opens nothing that was changed in a single bit, or cut, or lengthened", () => {
    const codec = codecOf([sealing()]);
    const sealed = codec.seal(Buffer.from("paid"), here);
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const byte = Math.floor(bit / 8);
      const changed = Uint8Array.from(sealed);
      changed[byte] = (sealed[byte] ?? 0) ^ (1 << (bit % 8));
      expect(opened(codec, changed)).toBe("store-corrupt");
    }
    for (let length = 0; length < sealed.length; length += 1) {
      expect(opened(codec, sealed.subarray(0, length))).toBe("store-corrupt");
    }
    expect(opened(codec, Buffer.concat([sealed, Uint8Array.of(0)]))).toBe("store-corrupt");
  });

  it("opens nothing in another place, however its names are cut (AAD)", () => {
    const codec = codecOf([sealing()]);
    const name = fc.string({ maxLength: 3, unit: fc.constantFrom("a", ":", "1", "s") });
    const place = fc.record({
      id: name,
      fingerprint: name,
      part: fc.array(name, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(anyBytes, place, place, (bytes, one, other) => {
        const sealed = codec.seal(bytes, one as never);
        const same = JSON.stringify(one) === JSON.stringify(other);
        const result = opened(codec, sealed, other as never);
        expect(result === "store-corrupt").toBe(!same);
      }),
      { numRuns: 1000 },
    );
  });

  it("rotates: the current key seals, all open, a removed or other key does not", () => {
    const before = codecOf([encrypted({ keys: { one: keys.one }, current: "one" })]);
    const after = codecOf([encrypted({ keys, current: "two" })]);
    const late = codecOf([encrypted({ keys: { two: keys.two }, current: "two" })]);
    const swapped = { one: keys.two, two: keys.one };
    const old = before.seal(Buffer.from("old"), here);
    const young = after.seal(Buffer.from("young"), here);
    expect([old, young].map((bytes) => String(after.open(bytes, here)))).toEqual(["old", "young"]);
    expect(String(late.open(young, here))).toBe("young");
    expect(opened(late, old)).toBe("store-corrupt");
    expect(opened(before, young)).toBe("store-corrupt");
    const wrong = codecOf([encrypted({ keys: swapped, current: "one" })]);
    expect(opened(wrong, old)).toBe("store-corrupt");
  });

  it("reads plain text only where a migration says so", () => {
    const plain = Buffer.from([1, 2, 3]);
    expect(opened(codecOf([sealing()]), plain)).toBe("store-corrupt");
    const migrating = encrypted({ keys, current: "one", acceptPlaintext: true });
    expect(opened(codecOf([migrating]), plain)).toBe(plain);
    const torn = migrating.seal(plain, here).subarray(0, 20);
    expect(opened(codecOf([migrating]), torn)).toBe("store-corrupt");
  });

  it("refuses unfit keys, and shows none of them", () => {
    const short = { one: keys.one.subarray(1) };
    const message = (options: unknown): string => {
      try {
        encrypted(options as never);
      } catch (error) {
        return String(error);
      }
      return "nothing thrown";
    };
    expect(message({ keys: short, current: "one" })).toMatch(
      /^TypeError: .*"one" must be .* of 32 bytes/,
    );
    expect(message({ keys: { "": keys.one }, current: "" })).toMatch(/1 to 64 visible ASCII/);
    expect(message({ keys: { one: "a".repeat(32) }, current: "one" })).toMatch(/32 bytes/);
    expect(message({ keys, current: "three" })).toMatch(/current must be the id/);
    expect(message({ keys, current: "toString" })).toMatch(/current must be the id/);
    expect(message({})).toMatch(/current must be the id/);
  });
});

describe("a list of codecs", () => {
  it("ends with encryption, and holds codecs only", () => {
    expect(() => codecOf([sealing(), compressed()])).toThrow(/must end with encrypted\(\)/);
    for (const wrong of [[{}], [null], [compressed], "compressed"]) {
      expect(() => codecOf(wrong as never)).toThrow(/must be a list of codecs/);
    }
  });

  it("calls whatever a codec throws at opening a corrupt result", () => {
    const fragile: ResultCodec = {
      name: "fragile",
      seal: (bytes) => bytes,
      open: () => {
        throw new Error("no such key");
      },
    };
    expect(opened(codecOf([fragile]), Uint8Array.of(1))).toBe("store-corrupt");
  });
});
