/**
 * Races between connections that need no luck: a gate in the server's clock, at which every command
 * stops after its look at the row and before it writes. The gate opens only once everybody who is
 * at work waits, at the gate or for somebody's row.
 */
import type { Client } from "pg";
import { until } from "./poll.ts";

/** The gate's name among the server's advisory locks. */
const gate = 4711;

/** SQL that puts the gate into a schema's clock; connections called "slow" stop there thrice. */
export function gatedClock(schema: string): string {
  return `
    ALTER FUNCTION "${schema}".now_ms() RENAME TO open_now_ms;
    CREATE FUNCTION "${schema}".now_ms() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
      BEGIN
        FOR stop IN 1 .. CASE current_setting('application_name') WHEN 'slow' THEN 3 ELSE 1 END LOOP
          PERFORM pg_advisory_lock_shared(${gate});
          PERFORM pg_advisory_unlock_shared(${gate});
        END LOOP;
        RETURN "${schema}".open_now_ms();
      END $$;`;
}

/** Runs calls at the same time, from gate to gate; what each resolved to. */
export async function inStep<T>(
  keeper: Client,
  calls: readonly (() => Promise<T>)[],
): Promise<readonly T[]> {
  await keeper.query("SELECT pg_advisory_lock($1)", [gate]);
  const atWork = new Set(calls);
  const replies = Promise.all(calls.map((call) => call().finally(() => void atWork.delete(call))));
  replies.catch(() => undefined); // told at the end
  while (atWork.size > 0) {
    await until(async () => (await waiting(keeper)) >= atWork.size, {
      everyMs: 2,
      withinMs: 15_000,
    });
    // Who waits here passes before the gate is shut again; who comes next waits for the next time.
    await keeper.query("SELECT pg_advisory_unlock($1), pg_advisory_lock($1)", [gate]);
  }
  await keeper.query("SELECT pg_advisory_unlock($1)", [gate]);
  return replies;
}

async function waiting(keeper: Client): Promise<number> {
  const select = "SELECT count(DISTINCT pid)::integer AS count FROM pg_locks WHERE NOT granted";
  const { rows } = await keeper.query<{ readonly count: number }>(select);
  return rows[0]?.count ?? 0;
}
