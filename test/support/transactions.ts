/** Databases that hold records and effects, through each driver that can begin a transaction. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { drizzle } from "drizzle-orm/node-postgres";
import { sql as drizzleSql } from "drizzle-orm";
import { Kysely, PostgresDialect, sql as kyselySql } from "kysely";
import type { Transaction } from "kysely";
import { Pool } from "pg";
import postgres from "postgres";
import type { TransactionSql } from "postgres";
import type { Transactions } from "../../src/engine/transaction/transactions.ts";
import {
  beginOn,
  fromDrizzle,
  fromKysely,
  postgresStore,
} from "../../src/stores/postgres/postgres-store.ts";
import { composeMigration } from "../../src/stores/postgres/schema.ts";
import type { SchemaTexts } from "../../src/stores/postgres/schema.ts";
import * as functions from "../../src/stores/postgres/sql/functions.generated.ts";
import { beginOn as beginOnDatabase, sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { openPglite } from "./pglite.ts";
import { startPostgres } from "./postgres-server.ts";
import type { PostgresProcess } from "./postgres-server.ts";

/** A store, and transactions on its database that write effects. */
export interface World {
  readonly store: Store;
  readonly transaction: Transactions<unknown>;
  /** What `store.within()` must refuse: a client of the same database in no transaction. */
  readonly outside: unknown;
  /** Writes one effect of a key in a transaction. */
  readonly effect: (transaction: unknown, key: string) => Promise<void>;
  /** How many effects of a key are committed. */
  readonly effects: (key: string) => Promise<number>;
  readonly close: () => Promise<void>;
}

const insert = "INSERT INTO effects (key) VALUES ($1)";
// A key written twice is refused by the COMMIT, and not before.
const table = `CREATE TABLE IF NOT EXISTS effects (id serial, key text,
  note text UNIQUE DEFERRABLE INITIALLY DEFERRED)`;

/** The store and the effects behind a pool of pg; `texts` may be functions broken on purpose. */
export async function pgWorld(
  server: Pick<PostgresProcess, "url">,
  { texts = functions, max = 20 }: { readonly texts?: SchemaTexts; readonly max?: number } = {},
): Promise<World & { readonly pool: Pool }> {
  const pool = new Pool({ connectionString: server.url, max });
  pool.on("error", () => undefined); // the server may be stopped first
  const schema = `tx${(worlds += 1)}`;
  await pool.query(table);
  await pool.query(composeMigration({ schema }, texts));
  return {
    pool,
    outside: pool,
    store: postgresStore(pool, { schema, allowVolatile: true, sweepEveryMs: false }),
    transaction: beginOn(pool),
    effect: async (client, key) => void (await (client as Pool).query(insert, [key])),
    effects: async (key) => {
      const { rows } = await pool.query<{ n: number }>(
        "SELECT count(*)::int AS n FROM effects WHERE key = $1",
        [key],
      );
      return rows[0]?.n ?? 0;
    },
    close: () => pool.end(),
  };
}
let worlds = 0;

/** The same on a Postgres of its own, which ends with it. */
export async function startPgWorld(): Promise<World & { readonly pool: Pool }> {
  const server = await startPostgres();
  const world = await pgWorld(server);
  return { ...world, close: () => world.close().then(() => server.stop()) };
}

type Database = Record<string, never>;

export const postgresWorlds: Readonly<Record<string, (server: PostgresProcess) => Promise<World>>> =
  {
    pg: pgWorld,
    "postgres.js": async (server) => {
      const world = await pgWorld(server);
      const sql = postgres(server.url, { max: 10 });
      return {
        ...world,
        transaction: (work) => sql.begin(work),
        outside: sql,
        effect: async (tx, key) => void (await (tx as TransactionSql).unsafe(insert, [key])),
        close: async () => {
          await sql.end();
          await world.close();
        },
      };
    },
    Kysely: async (server) => {
      const world = await pgWorld(server);
      const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: world.pool }) });
      const transaction: Transactions<Transaction<Database>> = {
        begin: (work) => db.transaction().execute(work),
        client: fromKysely,
      };
      return {
        ...world,
        transaction,
        outside: fromKysely(db),
        effect: async (trx, key) => {
          await kyselySql`INSERT INTO effects (key) VALUES (${key})`.execute(
            trx as Kysely<unknown>,
          );
        },
      };
    },
    Drizzle: async (server) => {
      const world = await pgWorld(server);
      const db = drizzle(world.pool);
      type Tx = Parameters<Parameters<typeof db.transaction>[0]>[0];
      const transaction: Transactions<Tx> = {
        begin: (work) => db.transaction(work),
        client: fromDrizzle,
      };
      return {
        ...world,
        transaction,
        outside: fromDrizzle(db),
        effect: async (tx, key) => {
          await (tx as Tx).execute(drizzleSql`INSERT INTO effects (key) VALUES (${key})`);
        },
      };
    },
    PGlite: async () => {
      const db = await openPglite();
      const store = postgresStore(db, { allowVolatile: true, sweepEveryMs: false });
      await db.exec(table);
      await store.migrate();
      type Tx = Parameters<Parameters<typeof db.transaction>[0]>[0];
      return {
        store,
        outside: db,
        transaction: (work) => db.transaction(work),
        effect: async (tx, key) => void (await (tx as Tx).query(insert, [key])),
        effects: async (key) => {
          const text = "SELECT count(*)::int AS n FROM effects WHERE key = $1";
          return (await db.query<{ n: number }>(text, [key])).rows[0]?.n ?? 0;
        },
        close: () => db.close(),
      };
    },
  };

/** The store and the effects in one SQLite file: a new one, which goes with the world, or this. */
export async function sqliteWorld(given?: unknown): Promise<World & { readonly path: string }> {
  const folder = typeof given === "string" ? given : mkdtempSync(join(tmpdir(), "latchkey-tx-"));
  const path = join(folder, "shop.db");
  const store = sqliteStore(path);
  const database = new DatabaseSync(path);
  database.exec("CREATE TABLE IF NOT EXISTS effects (key TEXT)");
  const add = database.prepare("INSERT INTO effects (key) VALUES (?)");
  const count = database.prepare("SELECT count(*) AS n FROM effects WHERE key = ?");
  return {
    path,
    store,
    outside: database,
    transaction: beginOnDatabase(database),
    effect: async (_, key) => void add.run(key),
    effects: async (key) => Number(count.get(key)?.["n"]),
    close: async () => {
      await store.close();
      database.close();
      if (typeof given !== "string") rmSync(folder, { recursive: true });
    },
  };
}
