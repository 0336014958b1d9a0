/**
 * The Postgres store: every command is one call of a function that the migration has put into the
 * database, judged by the server's clock under the row's lock. The functions (`sql/`) restate
 * `machine/transition.ts`; the tests walk random histories through both.
 */
import type { RecordId } from "../../machine/record.ts";
import type { Store } from "../store.ts";
import { connectionOf } from "./client.ts";
import type { PostgresClient } from "./client.ts";
import { askForNudge, callerOn, commandsOn, sweepBatch } from "./commands.ts";
import type { ListenClient } from "./watch/listener.ts";
import { repeating } from "./repeating.ts";
import { channelOf, migrationSql, renderer, schemaVersion } from "./schema.ts";
import type { SchemaOptions } from "./schema.ts";
import { checkClient, checkSchema, checkServer, versionOf } from "./self-test.ts";
import { startSweeper } from "./sweeper.ts";
import { storeWithin } from "./within/store-within.ts";
import { createWatching } from "./watch/watching.ts";

export type { PostgresClient } from "./client.ts";
export type { ListenClient } from "./watch/listener.ts";
export { migrationSql } from "./schema.ts";
export { beginOn } from "./within/begin-on.ts";
export type { PgPool, PgPoolClient } from "./within/begin-on.ts";
export { fromPrisma } from "./within/prisma.ts";
export type { PrismaTransaction } from "./within/prisma.ts";
export { fromDrizzle, fromKysely } from "./within/query-builders.ts";
export type { DrizzleTransaction, KyselyTransaction } from "./within/query-builders.ts";
export type { SchemaOptions } from "./schema.ts";

export interface PostgresStoreOptions extends SchemaOptions {
  /**
   * Accept a server that acknowledges before it has written (`synchronous_commit` or `fsync` off,
   * as in PGlite): after a power cut a payment may run twice. Default false.
   */
  readonly allowVolatile?: boolean;
  /**
   * How often expired records are swept, in ms. Default 60 000. `false`: you call `sweep()`
   * yourself, as from a scheduled job.
   */
  readonly sweepEveryMs?: number | false;
  /**
   * Hands out a client of its own to listen with, so that waiters in other processes are woken when
   * a record is settled: `() => new Client(url)` of pg (not yet connected, not through a pooler),
   * `() => sql` of postgres.js, `() => db` of PGlite. Default: waiters poll.
   */
  readonly listen?: () => ListenClient;
}

export interface PostgresStore extends Store {
  /**
   * Creates the schema, or brings it to this version; does nothing where it is. Safe from several
   * processes at once. Rejects with `store-unsuitable` when a newer Latchkey has been there.
   */
  migrate(): Promise<void>;
  /**
   * The same records through a transaction that you have begun and will end: a client of pg after
   * its BEGIN, the `sql` of `sql.begin`, the transaction of PGlite, or `fromKysely(trx)`,
   * `fromDrizzle(tx)`, `fromPrisma(tx)`. For `engine.with(store.within(tx)).run(…)`.
   */
  within(transaction: PostgresClient): Store;
}

/**
 * A store in Postgres 14 or newer, through your own client of pg (a pool, a client), postgres.js or
 * PGlite, which stays open on `close()`. Throws `TypeError` for a client of another shape; call
 * `migrate()` once, and `check()` at start-up.
 */
export function postgresStore(
  client: PostgresClient,
  options: PostgresStoreOptions = {},
): PostgresStore {
  const { allowVolatile = false, sweepEveryMs = 60_000, listen } = options;
  const connection = connectionOf(client);
  const render = renderer(options);
  const call = callerOn(repeating(connection), render);
  const commands = commandsOn(call);
  const sweeper = startSweeper((limit) => sweepBatch(call, limit), sweepEveryMs);
  const ask = (id: RecordId, forMs: number) => askForNudge(call, id, forMs);
  const watching = listen && createWatching({ open: listen, channel: channelOf(options), ask });

  return {
    name: "postgres",
    ...commands,
    ...(watching && { watch: watching.watch }),
    within: (transaction) => storeWithin(transaction, render),
    sweep: (limit = 1000) => sweeper.sweep(limit),
    migrate: async () => {
      if ((await versionOf(connection, render)) === schemaVersion) return;
      await connection.script(migrationSql(options));
    },
    check: async () => {
      await checkServer(connection, allowVolatile);
      await checkSchema(connection, render);
      await checkClient(commands);
    },
    close: async () => {
      sweeper.stop();
      await watching?.close();
    },
  };
}
