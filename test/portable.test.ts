/** What is to run on Bun, Deno and Workers imports no module that one of those lacks. */
import { readFileSync } from "node:fs";
import { parseSync } from "oxc-parser";
import { expect, it } from "vitest";

const root = new URL("../", import.meta.url);
const { exports } = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as {
  readonly exports: Readonly<Record<string, string>>;
};

/** The modules of Node that a file and all that it imports need at run time. */
function nodeModules(file: URL, seen: Set<string> = new Set()): Set<string> {
  const found = new Set<string>();
  if (seen.has(file.href)) return found;
  seen.add(file.href);
  const text = readFileSync(file, "utf8");
  const { module } = parseSync(file.pathname, text);
  const imports = module.staticImports.filter(({ start, entries }) => {
    const isBare = entries.length === 0 && !text.startsWith("import type", start);
    return isBare || entries.some(({ isType }) => !isType);
  });
  const reexports = module.staticExports.flatMap(({ entries }) =>
    entries.filter(({ isType, moduleRequest }) => !isType && moduleRequest !== null),
  );
  for (const { moduleRequest } of [...imports, ...reexports]) {
    const request = moduleRequest?.value ?? "";
    if (request.startsWith("node:")) found.add(request);
    else for (const one of nodeModules(new URL(request, file), seen)) found.add(one);
  }
  return found;
}

const portable = new Set(["node:crypto", "node:zlib", "node:async_hooks", "node:timers/promises"]);

const doors = [".", "./fetch", "./hono", "./memory", "./redis", "./postgres", "./results"];

it.each(doors)("what latchkey exports as %s is portable", (door) => {
  const source = exports[door]?.replace("./dist", "./src").replace(/\.js$/, ".ts") ?? "";
  const needed = [...nodeModules(new URL(source, root))];
  expect(needed.filter((name) => !portable.has(name))).toEqual([]);
});

it("finds what is not portable, so that the check can fail", () => {
  const source = new URL("src/stores/sqlite/sqlite-store.ts", root);
  expect(nodeModules(source)).toContain("node:fs");
});
