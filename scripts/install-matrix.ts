// Installs the folders under test/matrix/ that have a lock file of their own: other versions and
// runtimes, too heavy for the project's own devDependencies. Skips what is up to date.

import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const matrix = resolve(import.meta.dirname, "../test/matrix");

for (const name of globSync("*/package-lock.json", { cwd: matrix })) {
  const folder = join(matrix, dirname(name));
  const lock = readFileSync(join(matrix, name), "utf8");
  // A copy of the lock that was installed: times mean nothing after a checkout.
  const stamp = join(folder, "node_modules/.installed-lock.json");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
    process.stderr.write(`installing test/matrix/${dirname(name)}\n`);
    const { status } = spawnSync("npm", ["ci"], { cwd: folder, stdio: ["ignore", 2, 2] });
    if (status !== 0) process.exit(1);
    writeFileSync(stamp, lock);
  }
}
