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
  for (const [index, { document, code }] of blocks.entries()) {
    const name = `${document.replaceAll(/\W+/g, "-").toLowerCase()}-${index}.ts`;
    writeFileSync(new URL(name, folder), `${code}\nexport {};\n`);
  }
  writeFileSync(new URL("tsconfig.json", folder), JSON.stringify(configuration()));
  const compiler = fileURLToPath(new URL("node_modules/.bin/tsc", root));
  const { stdout, status } = spawnSync(compiler, ["-p", fileURLToPath(folder)]);
  expect(stdout.toString()).toBe("");
  expect(status).toBe(0);
});

/** Maps `latchkey/…` to the sources behind the package's exports. */
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
    compilerOptions: { paths, noUnusedLocals: false },
    include: ["*.ts"],
  };
}
