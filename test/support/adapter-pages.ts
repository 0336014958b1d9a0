/**
 * Makes programs of the pages in `docs/adapters/`: the package as its users install it, and beside
 * it the example of each page in a folder of its own, compiled against the package's own types.
 */
import { spawnSync } from "node:child_process";
import { cpSync, globSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { layExamples } from "../matrix/support/lay.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = join(root, ".cache/pages");

/**
 * Lays out the named pages; returns the folder that has a folder for each, with its `server.ts` and
 * `server.js`. Throws what the compiler has to say.
 */
export function layPages(pages: readonly string[]): string {
  rmSync(folder, { recursive: true, force: true });
  installPackage(join(folder, "node_modules/latchkey"));
  // A package of its own: within ours, `latchkey` is what stands in `dist/` here.
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  for (const page of pages) {
    mkdirSync(join(folder, page));
    layExamples(join(folder, page), `${page}.md`);
  }
  const compilerOptions = {
    strict: true,
    target: "es2023",
    module: "nodenext",
    experimentalDecorators: true,
    skipLibCheck: true,
    types: ["node"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  compile(["-p", folder]);
  return folder;
}

/** What `npm run build` does, elsewhere: other tests may be at work on `dist/`. */
function installPackage(installed: string): void {
  compile(["-p", join(root, "tsconfig.build.json"), "--outDir", join(installed, "dist")]);
  cpSync(join(root, "package.json"), join(installed, "package.json"));
  for (const file of globSync("**/*.*", { cwd: join(root, "src") })) {
    if (!file.endsWith(".ts")) cpSync(join(root, "src", file), join(installed, "dist", file));
  }
}

function compile(args: readonly string[]): void {
  const tsc = join(root, "node_modules/.bin/tsc");
  const { status, stdout } = spawnSync(tsc, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`tsc ${args.join(" ")}:\n${stdout}`);
}
