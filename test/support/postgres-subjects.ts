/** The Postgres store under a clock that tests move, through each of its drivers. */
import { Client, Pool } from "pg";
import postgres from "postgres";
import { postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import type {
  ListenClient,
  PostgresClient,
  PostgresStore,
} from "../../src/stores/postgres/postgres-store.ts";
import { composeMigration } from "../../src/stores/postgres/schema.ts";
import type { SchemaTexts } from "../../src/stores/postgres/schema.ts";
import * as functions from "../../src/stores/postgres/sql/functions.generated.ts";
import { openPglite } from "./pglite.ts";
import type { PostgresProcess } from "./postgres-server.ts";
import { virtualClock } from "./subjects.ts";
import type { Subject } from "./subjects.ts";

/** A client of a driver on a server, and what ends it. */
export interface Opened {
  readonly client: PostgresClient;
  readonly close: () => Promise<unknown>;
  /** Runs statements behind the store's back. */
  readonly run: (sql: string) => Promise<unknown>;
  /** Hands out what `listen` takes. */
  readonly listen: () => ListenClient;
}

export const drivers = {
  pg: async (server: PostgresProcess): Promise<Opened> => {
    const pool = new Pool({ connectionString: server.url, max: 10 });
    pool.on("error", () => undefined); // the server may be stopped first
    return {
      client: pool,
      close: () => pool.end(),
      run: (sql) => pool.query(sql),
      listen: () => new Client({ connectionString: server.url }),
    };
  },
  "postgres.js": async (server: PostgresProcess): Promise<Opened> => {
    const sql = postgres(server.url, { max: 10 });
    return {
      client: sql,
      close: () => sql.end(),
      run: (text) => sql.unsafe(text),
      listen: () => sql,
    };
  },
  PGlite: async (): Promise<Opened> => {
    const client = await openPglite();
    return {
      client,
      close: () => client.close(),
      run: (sql) => client.exec(sql),
      listen: () => client,
    };
  },
} as const;

/** A migrated schema whose one clock is the test's; `texts` may be functions broken on purpose. */
export async function postgresSubject(
  { client, close, run }: Omit<Opened, "listen">,
  schema: string,
  texts: SchemaTexts = functions,
): Promise<Subject & { readonly store: PostgresStore }> {
  const store = postgresStore(client, { schema, allowVolatile: true, sweepEveryMs: false });
  await run(composeMigration({ schema }, texts));
  const clock = virtualClock();
  const advance = async (ms: number): Promise<void> => {
    clock.advance(ms);
    if (ms !== 0) await run(`UPDATE "${schema}".clock SET ms = ${clock.nowMs()}`);
  };
  await run(`CREATE UNLOGGED TABLE "${schema}".clock AS SELECT ${clock.nowMs()}::bigint AS ms`);
  await run(
    `CREATE OR REPLACE FUNCTION "${schema}".now_ms() RETURNS bigint LANGUAGE sql VOLATILE ` +
      `AS 'SELECT ms FROM "${schema}".clock'`,
  );
  return { store, clock: { nowMs: clock.nowMs, advance }, close: async () => void (await close()) };
}

const sound: SchemaTexts = { ...functions };

/** The functions as they are, but for one file in which `from` is replaced by `to`. */
export function mutated(file: string, from: string, to: string): SchemaTexts {
  const text = sound[file] ?? "";
  if (!text.includes(from)) throw new Error(`${file}.sql does not say ${JSON.stringify(from)}.`);
  return { ...sound, [file]: text.replaceAll(from, to) };
}
