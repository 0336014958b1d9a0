/** Every TypeScript block of the documents compiles against the package as it is exported. */
import { spawnSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = new URL("../", import.meta.url);
const folder = new URL(".cache/docs/", root);

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
}

it("compiles every code block of the documents", () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const documents = globSync("{*.md,docs/**/*.md}", { cwd: root });
  const blocks = documents.flatMap((document) => {
    const text = readFileSync(new URL(document, root), "utf8");
    return [...text.matchAll(/```ts\n(.*?)```/gs)].map((match) => ({ document, code: match[1] }));
  });
  expect(blocks.length).toBeGreaterThanOrEqual(2);
  for (const [index, { document, code = "" }] of blocks.entries()) {
    const [, path = `${index}.ts`] = /^\/\/ (\S+\.ts)\n/.exec(code) ?? [];
    const file = new URL(`${document.replaceAll(/\W+/g, "-").toLowerCase()}/${path}`, folder);
    mkdirSync(new URL(".", file), { recursive: true });
    writeFileSync(file, `${code}\nexport {};\n`);
  }
  writeFileSync(new URL("tsconfig.json", folder), JSON.stringify(configuration()));
  const compiler = fileURLToPath(new URL("node_modules/.bin/tsc", root));
  const { stdout, status } = spawnSync(compiler, ["-p", fileURLToPath(folder)]);
  expect(stdout.toString()).toBe("");
  expect(status).toBe(0);
});

/**
 * Maps `latchkey/…` to the sources behind the package's exports. A block that opens with a path is
 * that file, beside the others of its page; `@/` leads there, as it does in Next.js.
 */
function configuration(): object {
  const text = readFileSync(new URL("package.json", root), "utf8");
  const { exports } = JSON.parse(text) as Manifest;
  const entries = Object.entries(exports).filter(([, file]) => file.endsWith(".js"));
  const paths = Object.fromEntries(
    entries.map(([door, file]) => [
      door.replace(/^\./, "latchkey"),
      [file.replace("./dist", "../../src").replace(/\.js$/, ".ts")],
    ]),
  );
  return {
    extends: "../../tsconfig.json",
    compilerOptions: {
      paths: { ...paths, "@/*": ["./docs-adapters-next-md/*.ts"] },
      noUnusedLocals: false,
    },
    include: ["**/*.ts", "../../test/support/runtime-types.d.ts"],
  };
}
