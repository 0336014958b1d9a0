/**
 * The demo's test routes for `latchkey verify`: `/verify` and what is below it is protected,
 * `/unprotected/verify` shows what a server without protection looks like.
 */
import type { IncomingMessage } from "node:http";
import { idempotent } from "../../adapters/node.ts";
import type { Listener } from "../../adapters/node.ts";
import { createTestRoute } from "../../conformance/http-suite.ts";
import type { Engine } from "../../engine/engine.ts";

/** What answers on a path; `undefined` for every other path. */
export function testRoutes(
  engine: Engine,
  scope: (req: IncomingMessage) => string,
): (path: string) => Listener | undefined {
  const { listener: unprotected } = createTestRoute();
  const guarded = idempotent(engine, { scope }, createTestRoute().listener);
  return (path) => {
    if (/^\/verify(?:\/|$)/.test(path)) return guarded;
    return /^\/unprotected\/verify(?:\/|$)/.test(path) ? unprotected : undefined;
  };
}
