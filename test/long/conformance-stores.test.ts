/** The rules of HTTP on the real stores: SQLite on disk, and a redis-server. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { httpSuite } from "../../src/conformance/suites.ts";
import type { HttpSubject } from "../../src/conformance/suites.ts";
import { nodeOn } from "../support/conformance/node-subjects.ts";
import { redisSubject, sqliteSubject } from "../support/subjects.ts";

const folder = mkdtempSync(join(tmpdir(), "latchkey-rules-"));
afterAll(() => rmSync(folder, { recursive: true }));

const stores = {
  SQLite: () => sqliteSubject(join(folder, "records.db")),
  Redis: redisSubject,
} as const;

describe.each(Object.entries(stores))("the rules of HTTP on %s", (name, open) => {
  let opened: Awaited<ReturnType<typeof open>>;
  let subject: HttpSubject;
  beforeAll(async () => {
    opened = await open();
    subject = nodeOn(name, () => opened);
  });
  afterAll(() => opened.close());
  httpSuite({ it, subject: () => subject });
});
