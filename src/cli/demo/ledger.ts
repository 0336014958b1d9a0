/** The demo's books: every charge that was really executed, durable beside the store. */
import { dirname } from "node:path";
import { makeFolder, newDatabase } from "../../stores/sqlite/database.ts";

export interface Charge {
  readonly receipt: string;
  readonly key: string | null;
  readonly at: string;
  readonly protected: boolean;
}
export interface Ledger {
  readonly book: (charge: Charge) => Promise<void>;
  readonly charges: () => Promise<readonly Charge[]>;
  readonly close: () => Promise<void>;
}

/**
 * The ledger that belongs to a store URL: a SQLite file beside the store, a Redis list, a table in
 * Postgres, or memory.
 */
export async function openLedger(storeUrl: string): Promise<Ledger> {
  if (storeUrl.startsWith("sqlite:")) return sqliteLedger(storeUrl.slice("sqlite:".length));
  if (storeUrl.startsWith("redis")) return redisLedger(storeUrl);
  if (storeUrl.startsWith("postgres")) return postgresLedger(storeUrl);
  return sqliteLedger(":memory:");
}

function sqliteLedger(file: string): Ledger {
  const path = file === ":memory:" ? file : `${file.replace(/\.db$/, "")}.charges.db`;
  if (path !== ":memory:") makeFolder(dirname(path));
  const database = newDatabase(path, 3000);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
  database.exec(
    "CREATE TABLE IF NOT EXISTS charges (id INTEGER PRIMARY KEY, charge TEXT NOT NULL)",
  );
  const insert = database.prepare("INSERT INTO charges (charge) VALUES (?)");
  const select = database.prepare("SELECT charge FROM charges ORDER BY id");
  return {
    book: async (charge) => void insert.run(JSON.stringify(charge)),
    charges: async () => select.all().map((row) => JSON.parse(String(row["charge"])) as Charge),
    close: async () => database.close(),
  };
}

const list = "latchkey-demo:charges";

async function redisLedger(url: string): Promise<Ledger> {
  const { Redis } = await import("ioredis");
  const client = new Redis(url);
  client.on("error", () => undefined); // the store tells of an unreachable Redis
  return {
    book: async (charge) => void (await client.rpush(list, JSON.stringify(charge))),
    charges: async () => {
      const charges = await client.lrange(list, 0, -1);
      return charges.map((charge) => JSON.parse(charge) as Charge);
    },
    close: async () => client.disconnect(),
  };
}

// Two demos may start at once, and to create one thing at once is an error.
const tables = `
  SELECT pg_advisory_xact_lock(hashtextextended('latchkey_demo', 0));
  CREATE SCHEMA IF NOT EXISTS latchkey_demo;
  CREATE TABLE IF NOT EXISTS latchkey_demo.charges (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, charge text NOT NULL
  );`;

async function postgresLedger(url: string): Promise<Ledger> {
  const { Pool } = await import("pg");
  const pool = new Pool({ connectionString: url });
  pool.on("error", () => undefined); // the store tells of an unreachable Postgres
  await pool.query(tables);
  const insert = "INSERT INTO latchkey_demo.charges (charge) VALUES ($1)";
  const select = "SELECT charge FROM latchkey_demo.charges ORDER BY id";
  return {
    book: async (charge) => void (await pool.query(insert, [JSON.stringify(charge)])),
    charges: async () => {
      const { rows } = await pool.query<{ readonly charge: string }>(select);
      return rows.map((row) => JSON.parse(row.charge) as Charge);
    },
    close: () => pool.end(),
  };
}
