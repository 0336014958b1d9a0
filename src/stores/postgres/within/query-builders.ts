/**
 * Transactions of query builders as clients of this store, by shape, so that none is a dependency.
 */
import type { PgClient } from "../client.ts";

/** Kysely: the `trx` of `db.transaction().execute(…)` on a Postgres dialect. */
export interface KyselyTransaction {
  executeQuery(query: never): Promise<{ readonly rows: readonly unknown[] }>;
}

/** The store's client of a Kysely transaction: `store.within(fromKysely(trx))`. */
export function fromKysely(transaction: KyselyTransaction): PgClient {
  return {
    query: (sql, parameters = []) => {
      // What Kysely calls a compiled query of raw SQL.
      const query = { kind: "RawNode", sqlFragments: [sql], parameters: [] };
      const queryId = { queryId: `latchkey-${(queries += 1)}` };
      return transaction.executeQuery({ query, queryId, sql, parameters } as never);
    },
  };
}
let queries = 0;

/** Drizzle: the `tx` of `db.transaction(…)` on node-postgres, postgres.js or PGlite. */
export interface DrizzleTransaction {
  execute(query: never): PromiseLike<unknown>;
}

/** The store's client of a Drizzle transaction: `store.within(fromDrizzle(tx))`. */
export function fromDrizzle(transaction: DrizzleTransaction): PgClient {
  return {
    query: async (sql, params = []) => {
      // What Drizzle asks of a query: itself, and its text with parameters.
      const query = { getSQL: () => query, toQuery: () => ({ sql, params }) };
      const result = await execute(transaction, query);
      return "rows" in result ? result : { rows: result };
    },
  };
}

type DrizzleResult = readonly unknown[] | { readonly rows: readonly unknown[] };

// Its errors carry the driver's as their cause, and the parameters in their message.
async function execute(transaction: DrizzleTransaction, query: object): Promise<DrizzleResult> {
  try {
    return (await transaction.execute(query as never)) as DrizzleResult;
  } catch (error) {
    throw error instanceof Error ? (error.cause ?? error) : error;
  }
}
