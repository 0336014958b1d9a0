#!/usr/bin/env node
/** The command's door: refuses an old Node in one line, before anything newer is loaded. */
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 13)) {
  process.stderr.write(`latchkey needs Node 22.13 or newer; this is ${process.versions.node}.\n`);
  process.exitCode = 2;
} else {
  const { main } = await import("./main.ts");
  await main(process.argv);
}
