/**
 * The adapter for Express 4 and 5: a middleware, written against the shape of Express and not its
 * types. Put it behind authentication; body parsers may stand before or behind it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Idempotency } from "../http/execution.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { nodeExchange, sendAnswer, setHeaders } from "./node/exchange.ts";
import { guardResponse } from "./node/guard.ts";

export type { Idempotency } from "../http/execution.ts";

/** What this adapter needs of an Express request. */
export interface ExpressRequest extends IncomingMessage {
  readonly originalUrl: string;
  readonly baseUrl: string;
  readonly path: string;
  readonly route?: { readonly path?: string | RegExp | readonly (string | RegExp)[] };
  readonly body?: unknown;
  /** What a handler can ask of its execution, while it runs under a key. */
  idempotency?: Idempotency;
}
export type Next = (error?: unknown) => void;

/**
 * Protects what follows it in the chain: `app.post("/payments", idempotent(engine, { scope }),
 * pay)`. Errors given to `next` reach Express's error handlers; what those answer decides by its
 * status whether it is recorded. The handler finds its
 * `Idempotency` in `req.idempotency`.
 */
export function idempotent<Req extends ExpressRequest = ExpressRequest>(
  engine: Engine,
  options: HttpOptions<Req>,
): (req: Req, res: ServerResponse, next: Next) => void {
  const policy = httpPolicy(options);
  async function protect(req: Req, res: ServerResponse, next: Next): Promise<void> {
    const pattern = req.route?.path ?? req.path;
    const place = {
      target: req.originalUrl,
      operation: `${req.method} ${req.baseUrl}${String(pattern)}`,
      parsed: req,
    };
    const exchange = nodeExchange([req, res, req], [options, policy], place);
    const admission = await admit(engine, policy, exchange);
    switch (admission.kind) {
      case "gone":
        return;
      case "answer":
        return sendAnswer(res, admission.answer);
      case "bypass":
        setHeaders(res, admission.headers);
        return next();
      case "execute":
        req.idempotency = admission.execution.idempotency;
        return guardResponse(res, admission.execution).run(() => next());
    }
  }
  return (req, res, next) => void protect(req, res, next).catch(next);
}
