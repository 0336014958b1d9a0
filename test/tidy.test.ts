// Keeps the house in order: every TypeScript file against the rules in support/tidy-rules.ts, and
// the rules against small files that break them.

import { globSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { expect, test } from "vitest";
import { circlesIn } from "./support/circles.ts";
import { inspect } from "./support/tidy-rules.ts";

const files = globSync("{src,test,scripts,bench,examples}/**/*.ts", {
  exclude: ["**/node_modules", "**/.cache"],
}).map((file) => file.replaceAll("\\", "/"));

test("every file keeps the arrows, the purity, the sizes and the names", () => {
  expect(files.flatMap((file) => inspect(file, readFileSync(file, "utf8")))).toEqual([]);
});

test("no source folder holds more than twelve files", () => {
  const counts = Map.groupBy(files, (file) => posix.dirname(file));
  const crowded = [...counts].filter(([dir, held]) => dir.startsWith("src") && held.length > 12);
  expect(crowded.map(([dir]) => dir)).toEqual([]);
});

test("no files import each other in a circle, types counted", () => {
  const sources = files.filter((file) => file.startsWith("src/"));
  expect(circlesIn(new Map(sources.map((file) => [file, readFileSync(file, "utf8")])))).toEqual([]);
  const [a, b] = ['import "./b.ts";', 'export type { A } from "./a.ts";'];
  const circle = circlesIn(new Map(Object.entries({ "src/a.ts": a, "src/b.ts": b })));
  expect(circle).toEqual(["src/a.ts → src/b.ts → src/a.ts"]);
});

const deep = "if(a)".repeat(4);
test.each([
  ["src/machine/a.ts", `// A.\nimport "../errors.ts";`, "machine must not import errors.ts"],
  ["src/stores/a.ts", `// A.\nimport "../engine/b.ts";`, "stores must not import engine/b.ts"],
  ["src/engine/a.ts", `// A.\nexport * from "../stores/memory.ts";`, "must not import"],
  ["src/http/a.ts", `// A.\nimport "../adapters/b.ts";`, "must not import adapters/b.ts"],
  ["src/conformance/a.ts", `// A.\nimport { b } from "../http/b.ts";`, "must not import http/b.ts"],
  ["src/conformance/a.ts", `// A.\nimport type { b } from "../stores/memory.ts";`, "must not"],
  ["src/index.ts", `// A.\nimport("./cli/latchkey.ts");`, "must not import cli/latchkey.ts"],
  ["src/engine/a.ts", `// A.\nimport "express";`, "imports the package express"],
  ["src/adapters/koa.ts", `// A.\nimport "@nestjs/core";`, "imports the package @nestjs/core"],
  ["src/adapters/nest.ts", `// A.\nimport "express";`, "imports the package express"],
  ["src/adapters/koa.ts", `// A.${"\n".repeat(121)}`, "an adapter of 121 lines"],
  ["src/other/a.ts", `// A.\nimport "./b.ts";`, "no arrow is drawn for other"],
  ["src/machine/a.ts", "// A.\nDate.now();", "machine/ uses Date"],
  ["src/machine/a.ts", "// A.\nMath.random();", "machine/ uses Math.random"],
  ["src/machine/a.ts", "// A.\nasync () => 1;", "async function"],
  ["src/machine/a.ts", `// A.\nimport "node:fs";`, "machine/ imports node:fs"],
  ["src/engine/a.ts", "const a = 1;", "does not open with a paragraph"],
  ["src/engine/a.ts", "// A.\nexport default 1;", "default export"],
  ["src/engine/camelCase.ts", "// A.", "not kebab-case"],
  ["src/engine/a.ts", `// A.${"\n".repeat(401)}`, "401 lines"],
  ["src/engine/a.ts", `// ${"a".repeat(99)}`, "over 100 columns"],
  ["src/engine/a.ts", `// A.\nfunction f() {${"\n".repeat(71)}}`, "has 72 lines"],
  ["src/engine/a.ts", "// A.\nconst f = (a, b, c, d) => a;", "over 3 parameters"],
  ["src/engine/a.ts", `// A.\n${deep} b();`, "nests deeper than 3"],
  ["src/engine/a.ts", `// ${"TO"}DO`, "unfinished mark"],
  ["test/a.test.ts", `test.${"only"}("a")`, "unfinished mark"],
  ["test/a.test.ts", `"/ho${"me"}/me/a"`, "a path of one machine"],
])("the rules find the fault in %s: %j", (path, text, finding) => {
  expect(inspect(path, text).join("\n")).toContain(finding);
});

test("the rules leave a proper file and a generated one alone", () => {
  const proper = "// A.\nif (a) {} else if (b) {} else if (c) {} else if (d) {} else if (e) {}\n";
  expect(inspect("src/engine/a.ts", proper)).toEqual([]);
  const typed = '// A.\nimport type { B } from "../http/b.ts";\n';
  expect(inspect("src/conformance/a.ts", typed)).toEqual([]);
  expect(inspect("src/adapters/koa.ts", `// A.${"\n".repeat(120)}`)).toEqual([]);
  expect(inspect("src/adapters/koa/a.ts", `// A.${"\n".repeat(121)}`)).toEqual([]);
  expect(inspect("src/stores/redis/a.generated.ts", "a".repeat(200))).toEqual([]);
});
