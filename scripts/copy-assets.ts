// The part of the build that tsc leaves out: copies what is not TypeScript from src/ to dist/ and
// deletes compiled files whose source is gone, so that dist/ mirrors src/ and nothing stale is
// published.

import { cpSync, existsSync, globSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const src = join(root, "src");
const dist = join(root, "dist");

for (const file of globSync("**/*.*", { cwd: src })) {
  if (!file.endsWith(".ts")) cpSync(join(src, file), join(dist, file));
}

for (const file of globSync("**/*.*", { cwd: dist })) {
  const source = file.replace(/(\.d\.ts|\.js|\.js\.map)$/, ".ts");
  if (!existsSync(join(src, source))) rmSync(join(dist, file), { recursive: true });
}
