/** The contract suite on a real Postgres, through each driver. */
import { afterAll, beforeAll, describe, it } from "vitest";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { drivers, postgresSubject } from "../support/postgres-subjects.ts";
import type { Subject } from "../support/subjects.ts";

let server: PostgresProcess;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

const histories: Readonly<Record<string, number>> = { pg: 40, "postgres.js": 10, PGlite: 10 };
describe.each(Object.entries(drivers))("the Postgres store through %s", (name, open) => {
  let subject: Subject;
  beforeAll(async () => {
    subject = await postgresSubject(await open(server), `contract-${name.replace(/\W/, "_")}`);
  });
  afterAll(() => subject.close());
  storeSuite({ it, subject: () => subject, histories: histories[name] ?? 10 });
});
