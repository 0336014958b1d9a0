/**
 * Installs the packages of every folder in test/matrix/ that has a lock file: other runtimes and
 * other versions of frameworks, which the rest of the project does without. What is up to date is
 * left alone. Run by `npm run test:matrix`.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../test/matrix");

/** Installs one folder; resolves to whether that went well. */
async function install(name: string): Promise<boolean> {
  const cwd = join(root, name);
  // A copy of the lock file, beside what was installed by it: npm's own says nothing of failures.
  const stamp = join(cwd, "node_modules/.installed-lock.json");
  const lock = readFileSync(join(cwd, "package-lock.json"), "utf8");
  if (textOf(stamp) === lock) {
    say(`${name}: up to date`);
    return true;
  }
  say(`${name}: installing`);
  const startedAtMs = performance.now();
  const child = spawn("npm", ["ci", "--no-audit", "--no-fund"], { cwd });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => void (output += chunk.toString()));
  }
  const [code] = (await once(child, "close")) as [number | null];
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
  if (code !== 0) {
    say(`${name}: npm ci failed after ${seconds} s\n${output}`);
    return false;
  }
  writeFileSync(stamp, lock);
  say(`${name}: installed in ${seconds} s`);
  return true;
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // nothing has been installed yet
  }
}

function say(line: string): void {
  process.stdout.write(`test/matrix/${line}\n`);
}

const names = globSync("*/package-lock.json", { cwd: root }).map((path) => dirname(path));
const done = await Promise.all(names.toSorted().map((name) => install(name)));
process.exitCode = done.every(Boolean) ? 0 : 1;
