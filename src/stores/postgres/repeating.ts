/** Commands that lost against another transaction: nothing was written, so they are sent again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./client.ts";
import { isConflict } from "./errors.ts";

const mostAttempts = 10;

/**
 * A connection whose statements are repeated after a serialization failure or a deadlock (40001,
 * 40P01), up to 10 times. Not for a transaction that somebody else began: there the whole of it
 * must be repeated.
 */
export function repeating({ query, script }: Connection): Connection {
  return {
    script,
    query: async (text, values) => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await query(text, values);
        } catch (error) {
          if (!isConflict(error) || attempt === mostAttempts) throw error;
        }
        await sleep(Math.random() * Math.min(50, 2 ** attempt));
      }
    },
  };
}
