/**
 * The adapter for Hono 4: a middleware, written against the shape of Hono and not its types; one of
 * those it extends. Put it behind authentication; validators and other readers of the body may
 * stand before or behind it.
 */
// Its types are extended below; nothing of it is there at run time.
// oxlint-disable-next-line import/no-empty-named-blocks, unicorn/require-module-specifiers
import type {} from "hono";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Idempotency } from "../http/execution.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { withHeaders } from "./fetch/exchange.ts";
import { settleResponse } from "./fetch/settle.ts";
import { methodOf, waitUntilOf } from "./fetch/wait-until.ts";
import { exchangeOf } from "./hono/request.ts";
import type { HonoRequest } from "./hono/request.ts";
import { answered, ownResponse, replace } from "./hono/response.ts";

export type { Idempotency } from "../http/execution.ts";

declare module "hono" {
  interface ContextVariableMap {
    /** What a handler can ask of its execution; `undefined` when it runs without a key. */
    idempotency?: Idempotency | undefined;
  }
}

/** What this adapter needs of a Hono context. */
export interface HonoContext {
  readonly req: HonoRequest;
  readonly finalized: boolean;
  res: Response;
  /** What layers outside have set, such as the user; Hono's own types know more of it. */
  get(name: string): unknown;
}

/** Options of a route: the shared ones, and how the platform is told of work that goes on. */
export interface HonoOptions<C> extends HttpOptions<C> {
  /**
   * Keeps the platform at work until the outcome is recorded, whatever becomes of the client.
   * Default: `c.executionCtx.waitUntil`, where there is one, as on Workers.
   */
  readonly waitUntil?: (work: Promise<unknown>, c: C) => void;
}

// These are generic in Hono's types, or not to be asked for, and plain at run time.
interface Inside {
  readonly executionCtx: unknown;
  readonly error: Error | undefined;
  readonly set: (name: string, value: unknown) => void;
}

/**
 * Protects what follows it: `app.post("/payments", idempotent(engine, { scope }), pay)`. An error
 * that the handler throws reaches `app.onError`; what that answers decides by its status whether it
 * is recorded (in a transaction none is). The handler finds its `Idempotency` in
 * `c.get("idempotency")`.
 */
export function idempotent<C extends HonoContext = HonoContext>(
  engine: Engine,
  options: HonoOptions<C>,
): (c: C, next: () => Promise<void>) => Promise<Response | void> {
  const { waitUntil, ...shared } = options ?? {};
  const policy = httpPolicy(shared);
  return async (c, next) => {
    const tell = waitUntilOf(waitUntil, [c]) ?? methodOf(executionContextOf(c));
    const exchange = { ...exchangeOf(c, shared, policy), waitUntil: tell };
    const admission = await admit(engine, policy, exchange);
    switch (admission.kind) {
      case "gone":
        return new Response(null, { status: 400 });
      case "answer":
        return answered(c, admission.answer);
      case "bypass":
        await next();
        return replace(c, withHeaders(c.res, admission.headers));
      case "execute": {
        const { execution } = admission;
        inside(c).set("idempotency", execution.idempotency);
        const respond = async (): Promise<Response> => {
          const response = await ownResponse(c, next);
          if (inside(c).error !== undefined) execution.fail();
          return response;
        };
        return replace(c, await settleResponse(execution, c.req.raw, respond));
      }
    }
  };
}

function inside(c: HonoContext): Inside {
  return c as unknown as Inside;
}

function executionContextOf(c: HonoContext): unknown {
  try {
    return inside(c).executionCtx;
  } catch {
    return undefined; // Hono's getter throws where the platform has none
  }
}
