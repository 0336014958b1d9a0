/** The rules of HTTP on the real stores: SQLite on disk, a redis-server and a Postgres. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { httpSuite } from "../../src/conformance/suites.ts";
import type { HttpSubject } from "../../src/conformance/suites.ts";
import { nodeOn } from "../support/conformance/node-subjects.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { drivers, postgresSubject } from "../support/postgres-subjects.ts";
import { redisSubject, sqliteSubject } from "../support/subjects.ts";
import type { Subject } from "../support/subjects.ts";

const folder = mkdtempSync(join(tmpdir(), "latchkey-rules-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function onPostgres(): Promise<Subject> {
  const server = await startPostgres();
  const subject = await postgresSubject(await drivers.pg(server), "rules");
  const close = async (): Promise<void> => {
    await subject.close();
    await server.stop();
  };
  return { ...subject, close };
}

const stores: Readonly<Record<string, () => Promise<Subject>>> = {
  SQLite: () => sqliteSubject(join(folder, "records.db")),
  Redis: redisSubject,
  Postgres: onPostgres,
};

describe.each(Object.entries(stores))("the rules of HTTP on %s", (name, open) => {
  let opened: Subject;
  let subject: HttpSubject;
  beforeAll(async () => {
    opened = await open();
    subject = nodeOn(name, () => opened);
  });
  afterAll(() => opened.close());
  httpSuite({ it, subject: () => subject });
});
