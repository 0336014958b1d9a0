/**
 * Writes the Lua files of the Redis store and the SQL files of the Postgres store into modules of
 * strings, so that bundlers carry them along.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, extname } from "node:path";

interface Source {
  /** The module, from the repository's root. */
  readonly module: string;
  /** The folder whose files go in. */
  readonly folder: string;
  readonly files: string;
}

const sources: readonly Source[] = [
  {
    module: "src/stores/redis/scripts.generated.ts",
    folder: "src/stores/redis/scripts",
    files: "*.lua",
  },
  {
    module: "src/stores/postgres/sql/functions.generated.ts",
    folder: "src/stores/postgres/sql",
    files: "*.sql",
  },
  {
    module: "src/stores/postgres/sql/migrations.generated.ts",
    folder: "src/stores/postgres/sql/migrations",
    files: "*.sql",
  },
];
const root = new URL("../", import.meta.url);

export interface GeneratedModule {
  /** From the repository's root. */
  readonly path: string;
  /** What it must export: texts by name, as the files are now. */
  readonly texts: Readonly<Record<string, string>>;
}

/** What the generated modules must be, made from the files as they are now. */
export function generatedModules(): readonly GeneratedModule[] {
  return sources.map(({ module, folder, files }) => {
    const cwd = new URL(`${folder}/`, root);
    const names = globSync(files, { cwd }).toSorted();
    const texts = names.map((name) => [nameOf(name), readFileSync(new URL(name, cwd), "utf8")]);
    return { path: module, texts: Object.fromEntries(texts) as Record<string, string> };
  });
}

// A name must be an identifier: 0001.sql becomes migration0001.
function nameOf(file: string): string {
  const name = basename(file, extname(file));
  return /^\d/.test(name) ? `migration${name}` : name;
}

function render({ texts }: GeneratedModule, { folder, files }: Source): string {
  const from = `${folder}/${files}`;
  const exports = Object.entries(texts).map(
    ([name, text]) => `export const ${name}: string = ${JSON.stringify(text)};\n`,
  );
  const head = `/** Made of \`${from}\` by \`npm run generate\`; edit those instead. */\n\n`;
  return head + exports.join("\n");
}

if (import.meta.main) {
  for (const [index, module] of generatedModules().entries()) {
    writeFileSync(new URL(module.path, root), render(module, sources[index] as Source));
  }
}
