/**
 * The Postgres store in a transaction of the user's: the commands on its one connection. Nothing is
 * repeated here, since an error ends the whole transaction.
 */
import type { Store } from "../../store.ts";
import { connectionOf } from "../client.ts";
import type { PostgresClient } from "../client.ts";
import { callerOn, commandsOn, sweepBatch } from "../commands.ts";
import type { Call } from "../commands.ts";

/** The store in a transaction; every command rejects where none has begun. */
export function storeWithin(transaction: PostgresClient, render: (text: string) => string): Store {
  const { query } = connectionOf(transaction);
  // A claim outside of one would stand at once, and the work beside it. The server says 25P01 then.
  const ask = render("LOCK TABLE latchkey.migrations IN ACCESS SHARE MODE");
  let begun: Promise<unknown> | undefined;
  const check = async (): Promise<void> => void (await (begun ??= query(ask, [])));
  const plain = callerOn({ query }, render);
  const call: Call = async (...named) => {
    await check();
    return plain(...named);
  };
  return {
    name: "postgres",
    isTransaction: true,
    ...commandsOn(call, true),
    sweep: (limit = 1000) => sweepBatch(call, limit),
    check,
    close: async () => {},
  };
}
