/**
 * The adapter for Hono 4: a middleware, written against the shape of Hono and not its types. Put it
 * behind authentication; validators and other readers of the body may stand before or behind it.
 */
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Answer } from "../http/answer.ts";
import type { Idempotency } from "../http/execution.ts";
import { exposedHeaders } from "../http/headers.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { bodyOf, initOf, toResponse, withHeaders } from "./fetch/exchange.ts";
import { isWorkers } from "./fetch/platform.ts";
import { settleResponse } from "./fetch/settle.ts";
import { methodOf, waitUntilOf } from "./fetch/wait-until.ts";
import type { HonoContext } from "./hono/context.ts";
import { exchangeOf } from "./hono/exchange.ts";
import { runHandler } from "./hono/handler.ts";

export type { HonoContext } from "./hono/context.ts";
export type { Idempotency } from "../http/execution.ts";

/**
 * Types `c.get("idempotency")`: `new Hono<{ Variables: IdempotencyVariables }>()`, or for a whole
 * project `declare module "hono" { interface ContextVariableMap extends IdempotencyVariables {} }`.
 */
export interface IdempotencyVariables {
  /** What a handler can ask of its execution; `undefined` when it runs without a key. */
  idempotency?: Idempotency;
}

/** Options of a route: the shared ones, and how the platform is told of work that goes on. */
export interface HonoOptions<C> extends HttpOptions<C> {
  /**
   * Keeps the platform at work until the outcome is recorded, whatever becomes of the client.
   * Default: `c.executionCtx.waitUntil`, where there is one, as on Workers.
   */
  readonly waitUntil?: (work: Promise<unknown>, c: C) => void;
}

// These are generic or overloaded in Hono's types, and plain at run time.
interface Inside {
  res: Response | undefined;
  readonly executionCtx: unknown;
  readonly set: (name: string, value: unknown) => void;
  readonly newResponse: (body: Uint8Array<ArrayBuffer> | null, init: ResponseInit) => Response;
}

/**
 * Protects what follows it: `app.post("/payments", idempotent(engine, { scope }), pay)`. An error
 * that the handler throws reaches `app.onError`; what that answers decides by its status whether it
 * is recorded. The handler finds its `Idempotency` in `c.get("idempotency")`.
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
        const run = () => runHandler(c, next);
        return replace(c, await settleResponse(execution, c.req.raw, run));
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

// Hono merges the headers of a response that is set over another one; this one has them already.
function replace(c: HonoContext, response: Response): void {
  if (c.res === response) return;
  inside(c).res = undefined;
  c.res = response;
}

// Through the context, so that headers set by the layers outside (CORS, request ids) are kept.
function answered(c: HonoContext, answer: Answer): Response {
  const made = inside(c).newResponse(bodyOf(answer), initOf(answer));
  const response = isWorkers ? toResponse({ ...answer, headers: [...made.headers] }) : made;
  if (response.headers.has("access-control-allow-origin")) {
    const present = response.headers.get("access-control-expose-headers") ?? "";
    const exposed = exposedHeaders(present, answer.headers);
    response.headers.set("access-control-expose-headers", exposed);
    c.res.headers.set("access-control-expose-headers", exposed);
  }
  return response;
}
