/** Transactions on a pool of pg, which has no function for them. */
import type { PgClient } from "../client.ts";

/** What this needs of a pool of pg. */
export interface PgPool<Client extends PgPoolClient = PgPoolClient> {
  connect(): Promise<Client>;
}
export interface PgPoolClient extends PgClient {
  query(
    text: string,
    values?: unknown[],
  ): Promise<{ readonly rows: readonly unknown[]; readonly command: string }>;
  release(error?: boolean): void;
  on(event: "error", listener: () => void): unknown;
  off(event: "error", listener: () => void): unknown;
}

/**
 * Runs work in transactions of a pool: `transaction: beginOn(pool)`. COMMIT when the work resolves,
 * ROLLBACK when it rejects; a connection whose COMMIT or ROLLBACK failed is thrown away.
 */
export function beginOn<Client extends PgPoolClient>(
  pool: PgPool<Client>,
): (work: (client: Client) => Promise<void>) => Promise<void> {
  return async (work) => {
    const client = await pool.connect();
    let isBroken = true;
    // A connection that is lost between two statements would end the process; the next one tells.
    const onLost = (): void => {};
    client.on("error", onLost);
    try {
      await client.query("BEGIN ISOLATION LEVEL READ COMMITTED");
      const outcome = await work(client).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      const { command } = await client.query(outcome === undefined ? "COMMIT" : "ROLLBACK");
      isBroken = false;
      if (outcome !== undefined) throw outcome.error;
      // How Postgres answers the COMMIT of a transaction in which a statement has failed.
      if (command === "ROLLBACK") {
        throw new Error("A statement of the transaction failed, and nothing of it was committed.");
      }
    } finally {
      client.off("error", onLost);
      client.release(isBroken);
    }
  };
}
