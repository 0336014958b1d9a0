/** Options of a route for a framework whose requests wrap Node's. */
import type { IncomingMessage } from "node:http";
import type { HttpOptions } from "../../src/http/policy.ts";

/** Options of a plain request as options of what a framework makes of it. */
export function optionsBy<Req>(
  rawOf: (request: Req) => IncomingMessage,
  { scope, key, ...others }: HttpOptions<IncomingMessage>,
): HttpOptions<Req> {
  return {
    ...others,
    scope: typeof scope === "function" ? (request) => scope(rawOf(request)) : scope,
    ...(key === undefined ? {} : { key: (request: Req) => key(rawOf(request)) }),
  };
}
