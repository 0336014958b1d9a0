/** The page of guarantees: every promise names a test that exists, under the name it has. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const page = new URL("../docs/guarantees.md", import.meta.url);
const text = readFileSync(page, "utf8");

it("names tests that exist", () => {
  const named = [...text.matchAll(/^\[\w+\]: (\S+) "(.*)"$/gm)];
  expect(named.length).toBeGreaterThanOrEqual(20);
  for (const [, file = "", name = ""] of named) {
    const source = readFileSync(new URL(file, page), "utf8");
    expect([file, name, source.includes(name)]).toEqual([file, name, true]);
  }
});

it("uses every reference it defines, and defines every one it uses", () => {
  const defined = new Set([...text.matchAll(/^\[(\w+)\]: /gm)].map(([, name]) => name));
  const used = new Set([...text.matchAll(/\]\[(\w+)\]/g)].map(([, name]) => name));
  expect(used).toEqual(defined);
});
