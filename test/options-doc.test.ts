/** The page of options names every option, and its defaults are the code's. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { engineDefaults, engineOptionNames } from "../src/engine/engine.ts";
import { problemAnswer } from "../src/http/answer.ts";
import type { ProblemCode } from "../src/http/answer.ts";
import { httpDefaults, httpOptionNames } from "../src/http/policy.ts";

const page = (name: string) => readFileSync(new URL(`../docs/${name}`, import.meta.url), "utf8");

function shown(value: unknown): string {
  if (value === 1_048_576) return "1 MiB";
  return `\`${JSON.stringify(value).replaceAll(",", ", ")}\``;
}

it("documents every option with its default", () => {
  const table = [...page("options.md").matchAll(/^\| `(\w+)` \| (.*?) \|/gm)];
  // A route's `lease` says "the engine's", which stands above it.
  const rows = new Map(table.toReversed().map(([, name, value]) => [name, value]));
  const { fingerprint: _, ...defaults } = { ...engineDefaults, ...httpDefaults };
  const names = new Set([...engineOptionNames, ...httpOptionNames]);
  names.delete("runtime"); // for tests of the engine
  expect([...names].filter((name) => !rows.has(name))).toEqual([]);
  for (const [name, value] of Object.entries(defaults)) {
    expect([name, rows.get(name)]).toEqual([name, shown(value)]);
  }
});

it("has an anchor for every problem code (B-117)", () => {
  const anchors = [...page("problems.md").matchAll(/^## (.*)$/gm)].map(([, code]) => code);
  for (const code of anchors) {
    const { type } = JSON.parse(
      Buffer.from(problemAnswer(code as ProblemCode).body).toString(),
    ) as { type: string };
    expect(type.endsWith(`#${code}`)).toBe(true);
  }
  expect(anchors).toHaveLength(9);
});

it("says what every event means", () => {
  const source = readFileSync(new URL("../src/engine/events.ts", import.meta.url), "utf8");
  const union = /EngineEventKind =([^;]*);/.exec(source)?.[1] ?? "";
  const kinds = [...union.matchAll(/"([a-z-]+)"/g)].map(([, kind]) => kind);
  const table = page("operating.md").split("## Events")[1] ?? "";
  const rows = [...table.matchAll(/^\| `([a-z-]+)` \| \S.* \| \S.* \|$/gm)];
  expect(new Set(rows.map(([, kind]) => kind))).toEqual(new Set(kinds));
  expect(kinds.length).toBeGreaterThan(10);
});
