/**
 * Lays out what a runtime is to run: the built package as its users install it, the files of the
 * test, and the examples as they stand in the documents.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** The folder of a runtime under `test/matrix/`. */
export function folderOf(runtime: string): string {
  return join(root, "test/matrix", runtime);
}

/** The path of a command that a runtime's packages bring. */
export function commandOf(runtime: string, command: string): string {
  return join(folderOf(runtime), "node_modules/.bin", command);
}

/**
 * Puts `dist/` and `package.json` where an import of `latchkey` finds them, and empties the work
 * folder, whose path it returns.
 */
export function layPackage(runtime: string): string {
  const folder = folderOf(runtime);
  const installed = join(folder, "node_modules/latchkey");
  rmSync(installed, { recursive: true, force: true });
  for (const part of ["dist", "package.json"]) {
    cpSync(join(root, part), join(installed, part), { recursive: true });
  }
  const work = join(folder, ".cache");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  // Nearer than the repository's, whose paths would lead Bun and esbuild to the sources.
  writeFileSync(join(work, "tsconfig.json"), "{}\n");
  return work;
}

/** Copies files of `test/matrix/` to the same paths in a work folder. */
export function layFiles(work: string, files: readonly string[]): void {
  for (const file of files) cpSync(join(root, "test/matrix", file), join(work, file));
}

/** The text of a page of `docs/adapters/`. */
export function readPage(document: string): string {
  return readFileSync(join(root, "docs/adapters", document), "utf8");
}

/**
 * Writes the code blocks of a document that open with a path in a comment (`// server.ts`) to that
 * path, so that the example in the page is the one that runs.
 */
export function layExamples(work: string, document: string): void {
  const blocks = [...readPage(document).matchAll(/```\w+\n\/\/ (\S+)\n(.*?)```/gs)];
  if (blocks.length === 0) throw new Error(`No example in ${document} names its file.`);
  for (const [, path = "", code = ""] of blocks) {
    mkdirSync(dirname(join(work, path)), { recursive: true });
    writeFileSync(join(work, path), code);
  }
}

/** What TypeScript says against files of a work folder, under a runtime's own types. */
export function typeErrors(
  work: string,
  files: readonly string[],
  types: readonly string[],
): string {
  const compilerOptions = {
    strict: true,
    target: "es2023",
    lib: ["es2024"],
    module: "nodenext",
    noEmit: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    types,
  };
  const config = join(work, "tsconfig.check.json");
  writeFileSync(config, JSON.stringify({ compilerOptions, files }));
  const tsc = join(root, "node_modules/.bin/tsc");
  return spawnSync(tsc, ["-p", config], { encoding: "utf8" }).stdout;
}
