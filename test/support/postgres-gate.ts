/**
 * Races between connections that need no luck: gates in the server's clock, at which every command
 * stops after its look at the row and before it writes. A gate opens only once everybody who is at
 * work waits, at the gate or for somebody's row, and the next gate is shut.
 */
import type { Client } from "pg";
import { until } from "./poll.ts";

// A gate is an advisory lock; which of them is the present one stands in a sequence, because that
// is seen at once, whatever the snapshot.
const firstGate = 4711;

/** SQL that makes the gates of a database. */
export const gates: string = `
  CREATE SEQUENCE public.gates START ${firstGate};
  SELECT nextval('public.gates');`;

/** SQL that puts the gates into a schema's clock; connections called "slow" stop there thrice. */
export function gatedClock(schema: string): string {
  return `
    ALTER FUNCTION "${schema}".now_ms() RENAME TO open_now_ms;
    CREATE FUNCTION "${schema}".now_ms() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
      DECLARE
        gate bigint;
      BEGIN
        FOR stop IN 1 .. CASE current_setting('application_name') WHEN 'slow' THEN 3 ELSE 1 END LOOP
          SELECT last_value INTO gate FROM public.gates;
          PERFORM pg_advisory_lock_shared(gate);
          PERFORM pg_advisory_unlock_shared(gate);
        END LOOP;
        RETURN "${schema}".open_now_ms();
      END $$;`;
}

/** Runs calls at the same time, from gate to gate; what each resolved to. */
export async function inStep<T>(
  keeper: Client,
  calls: readonly (() => Promise<T>)[],
): Promise<readonly T[]> {
  const shutNext = async (): Promise<number> => {
    const { rows } = await keeper.query<{ readonly gate: number }>(
      "SELECT last_value::integer + 1 AS gate, pg_advisory_lock(last_value + 1) FROM public.gates",
    );
    await keeper.query("SELECT nextval('public.gates')");
    return rows[0]?.gate ?? firstGate;
  };
  const open = async (gate: number): Promise<void> => {
    await keeper.query("SELECT pg_advisory_unlock($1)", [gate]);
  };

  let gate = await shutNext();
  const atWork = new Set(calls);
  const replies = Promise.all(calls.map((call) => call().finally(() => void atWork.delete(call))));
  replies.catch(() => undefined); // told at the end
  while (atWork.size > 0) {
    await until(async () => (await waiting(keeper)) >= atWork.size, {
      everyMs: 2,
      withinMs: 15_000,
    });
    const next = await shutNext();
    await open(gate);
    gate = next;
  }
  await open(gate);
  return replies;
}

async function waiting(keeper: Client): Promise<number> {
  const select = "SELECT count(DISTINCT pid)::integer AS count FROM pg_locks WHERE NOT granted";
  const { rows } = await keeper.query<{ readonly count: number }>(select);
  return rows[0]?.count ?? 0;
}
