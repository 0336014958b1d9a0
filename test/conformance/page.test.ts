/** docs/conformance.md: every rule and every adapter, no blanks, in the words of the suite. */
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { rulesOf } from "../../src/conformance/http/verify.ts";
import { columns } from "../support/conformance/columns.ts";
import { parsePage, renderPage } from "../support/conformance/page.ts";

const root = new URL("../../", import.meta.url);
const page = readFileSync(new URL("docs/conformance.md", root), "utf8");
const rows = parsePage(page);

it("is written by the generator: `npm run conformance` would change nothing but results", () => {
  expect(renderPage(rows)).toBe(page);
});

it("has a row for every rule, in its own words, and a column for every adapter", () => {
  const rules = rulesOf().map(({ section, rule }) => [rule.rule, section.title, rule.title]);
  expect(rows.map(({ rule, section, title }) => [rule, section, title])).toEqual(rules);
  const names = columns.map(({ name }) => name);
  for (const row of rows) {
    expect(Object.keys(row.cells)).toEqual(names);
    expect(Object.values(row.cells).every((cell) => cell === "✓" || cell.length > 10)).toBe(true);
  }
});

it("counts the rules from B-1 to B-117; two numbers were never given", () => {
  const all = Array.from({ length: 117 }, (_, index) => `B-${index + 1}`);
  const given = all.filter((rule) => rule !== "B-18" && rule !== "B-90");
  expect(rulesOf().map(({ rule }) => rule.rule)).toEqual(given);
});

it("names, for what no HTTP client sees, a test that says so", () => {
  for (const { rule } of rulesOf()) {
    if (rule.kind !== "elsewhere") continue;
    const file = new URL(rule.heldBy, root);
    expect(existsSync(file), `${rule.rule}: ${rule.heldBy}`).toBe(true);
    const [, other] = /\((S-\d+)\)/.exec(rule.why) ?? [];
    expect(readFileSync(file, "utf8")).toMatch(new RegExp(`\\b(?:${rule.rule}|${other})\\b`));
  }
});
