/** What follows the middleware, kept apart from whoever answers in its place. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { HonoContext } from "./context.ts";

const handling = new AsyncLocalStorage<HonoContext>();

/**
 * Runs what follows so that it sees only its own response: a timeout outside may have answered by
 * then, and Hono would drop what the handler answers later, and what is to be recorded (B-79).
 */
export async function runHandler(c: HonoContext, next: () => Promise<void>): Promise<Response> {
  let isFinal = c.finalized;
  let isOwnFinal = isFinal;
  Object.defineProperty(c, "finalized", {
    configurable: true,
    get: () => (handling.getStore() === c ? isOwnFinal : isFinal),
    set(value: boolean) {
      isFinal = value;
      if (handling.getStore() === c) isOwnFinal = value;
    },
  });
  await handling.run(c, next);
  return c.res;
}
