// PGlite, opened from a data directory that its initdb has made once: that takes it seconds.

import { randomUUID } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  openAsBlob,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { PGlite } from "@electric-sql/pglite";

const CACHE = resolve(import.meta.dirname, "../../node_modules/.cache/latchkey");

/** An empty database in memory. */
export async function openPglite(): Promise<PGlite> {
  const template = resolve(CACHE, `pglite-${version()}.tar`);
  if (!existsSync(template)) await makeTemplate(template);
  return PGlite.create({ loadDataDir: await openAsBlob(template) });
}

async function makeTemplate(template: string): Promise<void> {
  const db = await PGlite.create();
  const data = Buffer.from(await (await db.dumpDataDir("none")).arrayBuffer());
  await db.close();
  mkdirSync(CACHE, { recursive: true });
  const copy = `${template}-${randomUUID()}`;
  writeFileSync(copy, data);
  renameSync(copy, template);
}

function version(): string {
  const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  const manifest = readFileSync(resolve(dirname(entry), "../package.json"), "utf8");
  return (JSON.parse(manifest) as { readonly version: string }).version;
}
