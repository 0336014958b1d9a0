/** The demo's books: every charge that was really executed, durable beside the store. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";

export interface Charge {
  readonly receipt: string;
  readonly key: string | null;
  readonly at: string;
  readonly protected: boolean;
}
export interface Ledger {
  book(charge: Charge): void;
  charges(): readonly Charge[];
  close(): void;
}

/** The ledger that belongs to a store URL: a SQLite file beside the store, or memory. */
export function openLedger(storeUrl: string): Ledger {
  const file = storeUrl.startsWith("sqlite:") ? storeUrl.slice("sqlite:".length) : ":memory:";
  const path = file === ":memory:" ? file : `${file.replace(/\.db$/, "")}.charges.db`;
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true });
  const database = new DatabaseSync(path, { timeout: 3000 });
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
  database.exec(
    "CREATE TABLE IF NOT EXISTS charges (id INTEGER PRIMARY KEY, charge TEXT NOT NULL)",
  );
  const insert = database.prepare("INSERT INTO charges (charge) VALUES (?)");
  const select = database.prepare("SELECT charge FROM charges ORDER BY id");
  return {
    book: (charge) => void insert.run(JSON.stringify(charge)),
    charges: () => select.all().map((row) => JSON.parse(String(row["charge"])) as Charge),
    close: () => database.close(),
  };
}
