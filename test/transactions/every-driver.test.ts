/**
 * Claim, work and result in one transaction, through every driver: together or not at all. Prisma's
 * is in `test/matrix/prisma/`.
 */
import { afterAll, beforeAll } from "vitest";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { describeTransactions } from "../support/transaction-rules.ts";
import { postgresWorlds, sqliteWorld } from "../support/transactions.ts";

let server: PostgresProcess;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

for (const [name, create] of Object.entries(postgresWorlds)) {
  describeTransactions(name, () => create(server));
}
describeTransactions("SQLite", sqliteWorld);
