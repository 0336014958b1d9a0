/**
 * Writes the Lua files of the Redis store into one module of strings, so that bundlers carry them
 * along.
 */
import { readFileSync, writeFileSync } from "node:fs";

const folder = new URL("../src/stores/redis/", import.meta.url);
const names = [
  "record",
  "claim",
  "renew",
  "commit",
  "step",
  "complete",
  "release",
  "resolve",
  "get",
];

/** The module's text, made from the files as they are now. */
export function generatedModule(): string {
  const scripts = names.map((name) => {
    const text = readFileSync(new URL(`scripts/${name}.lua`, folder), "utf8");
    const literal = JSON.stringify(text);
    const comment = `/** The text of \`scripts/${name}.lua\`. */`;
    return `${comment}\nexport const ${name}: string = ${literal};\n`;
  });
  const head =
    "/** Generated from `scripts/*.lua` by `npm run generate`; edit those instead. */\n\n";
  return head + scripts.join("\n");
}

if (import.meta.main) {
  writeFileSync(new URL("scripts.generated.ts", folder), generatedModule());
}
