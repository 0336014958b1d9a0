/** The key header against the grammar, and against a structured-fields parser as oracle. */
import * as fc from "fast-check";
import { parseItem, serializeItem } from "structured-headers";
import { describe, expect, it } from "vitest";
import { readKeyHeader } from "../../src/http/key-header.ts";

const keyOf = (...lines: string[]) => {
  const header = readKeyHeader(lines);
  return header.kind === "key" ? header.key : header.kind;
};

describe("the Idempotency-Key header", () => {
  it.each([
    ["B-3", '"8e03978e-40d5"', "8e03978e-40d5"],
    ["B-4", "8e03978e-40d5", "8e03978e-40d5"],
    ["B-6", '"a\\"b\\\\c"', 'a"b\\c'],
    ["B-7", '"k";v=1', "k"],
    ["B-7", '"k"; v="a;, b";w', "k"],
    ["B-13", "K", "K"],
    ["B-14", "a:b{c}*", "a:b{c}*"],
  ])("reads %s: %s", (_rule, line, key) => {
    expect(keyOf(line)).toBe(key);
  });

  it.each([
    ["B-6", '"a\\x"'],
    ["B-7", '"k";v="x'],
    ["B-7", '"k" ;v=1'], // RFC 9651, 4.2.3.2: nothing stands before the semicolon
    ["B-8", '""'],
    ["B-8", "   "],
    ["B-9", "x".repeat(256)],
    ["B-10", "caf\u00e9"],
    ["B-10", "a\tb"],
    ["B-11", '"a", "b"'],
    ["B-11", "a,b"],
    ["B-11", '"a'],
  ])("refuses %s: %s", (_rule, line) => {
    expect(keyOf(line)).toBe("invalid");
  });

  it("refuses two lines and misses none (B-2, B-11)", () => {
    expect(keyOf("a", "a")).toBe("invalid");
    expect(keyOf()).toBe("absent");
  });

  it("reads every string item that a structured-fields library writes, and no more", () => {
    const visible = fc.string({
      minLength: 1,
      maxLength: 20,
      unit: fc.constantFrom(...'ab"\\ ;,='),
    });
    fc.assert(
      fc.property(visible, (text) => {
        const written = serializeItem(text, new Map([["v", 1]]));
        expect(keyOf(written)).toBe(text.trim() === "" ? "invalid" : text);
        expect(accepts(`"${text}"`)).toBe(keyOf(`"${text}"`) !== "invalid");
      }),
      { numRuns: 2000 },
    );
  });
});

/** Whether the oracle takes the line as one string that is not blank. */
function accepts(line: string): boolean {
  try {
    const [value] = parseItem(line);
    return typeof value === "string" && value.trim() !== "";
  } catch {
    return false;
  }
}
