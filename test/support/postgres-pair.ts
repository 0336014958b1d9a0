/**
 * A Postgres and its streaming standby, with a link between them that can be cut; the standby can
 * be promoted.
 */
import { Client } from "pg";
import { until } from "./poll.ts";
import { startPostgres } from "./postgres-server.ts";
import type { PostgresProcess } from "./postgres-server.ts";
import { startProxy } from "./tcp-proxy.ts";

export interface PostgresPair {
  readonly primary: PostgresProcess;
  readonly standby: PostgresProcess;
  /** Resolves once the standby has all that was written. */
  readonly settled: () => Promise<unknown>;
  /** From here the standby hears nothing more. */
  readonly cut: () => void;
  /** Resolves once the standby takes writes. */
  readonly promote: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

const settings = { fsync: "on", synchronous_commit: "on" };

/**
 * Starts both and resolves once the standby has all that `prepare` wrote on the primary. With
 * `isSynchronous` the primary acknowledges nothing that its standby has not on its disk.
 */
export async function startPostgresPair(
  isSynchronous: boolean,
  prepare: (url: string) => Promise<void>,
): Promise<PostgresPair> {
  const primary = await startPostgres({ settings });
  await prepare(primary.url);
  await ask(primary.url, "CHECKPOINT");
  await primary.crash(); // copied at rest
  const link = await startProxy(primary.port);
  const follow = `host=127.0.0.1 port=${link.port} user=postgres application_name=standby`;
  const copied = { data: primary.data, settings: { ...settings, primary_conninfo: follow } };
  const starting = startPostgres({ ...copied, standby: true });
  await primary.restart();
  const standby = await starting;
  if (isSynchronous) {
    await ask(primary.url, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
    await ask(primary.url, "SELECT pg_reload_conf()");
  }
  const state = isSynchronous ? "sync" : "async";
  await until(
    async () => {
      const sql = "SELECT state || ' ' || sync_state AS link FROM pg_stat_replication";
      return (await ask(primary.url, sql))[0]?.["link"] === `streaming ${state}`;
    },
    { withinMs: 20_000, what: `a standby that streams (${state})` },
  );
  return {
    primary,
    standby,
    settled: () =>
      until(async () => {
        const sql = "SELECT flush_lsn = pg_current_wal_lsn() AS same FROM pg_stat_replication";
        return (await ask(primary.url, sql))[0]?.["same"] === true;
      }),
    cut: () => link.blackhole(),
    promote: async () => {
      await ask(standby.url, "SELECT pg_promote()");
    },
    stop: async () => {
      await link.close();
      await Promise.all([primary.stop(), standby.stop()]);
    },
  };
}

async function ask(
  url: string,
  sql: string,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const client = new Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}
