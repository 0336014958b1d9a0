/**
 * The adapter for Express 4 and 5: a middleware, written against the shape of Express and not its
 * types. Put it behind authentication; body parsers may stand before or behind it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Idempotency } from "../http/execution.ts";
import { failLayers } from "../http/layers.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { nodeExchange, sendAnswer, setHeaders } from "./node/exchange.ts";
import { guardResponse } from "./node/guard.ts";

export type { Idempotency } from "../http/execution.ts";

declare global {
  namespace Express {
    interface Request {
      /** What a handler can ask of its execution; absent when it runs without a key. */
      idempotency?: Idempotency | undefined;
    }
  }
}

type Pattern = string | RegExp;
/** What this adapter needs of an Express request, and what others have added to all of them. */
export interface ExpressRequest extends IncomingMessage, Express.Request {
  readonly originalUrl: string;
  readonly baseUrl: string;
  readonly path: string;
  readonly get: (header: string) => string | undefined;
  /** The route that matched last; not cleared when a later middleware is outside of it. */
  readonly route?: {
    readonly path: Pattern | readonly Pattern[];
    readonly stack: readonly { readonly handle: unknown }[];
  };
}
// Not in the type above: Express would take the type of their bodies from there for the handlers
// that follow, and theirs would be no longer what their parser says.
interface Parsed {
  readonly body?: unknown;
  readonly file?: unknown;
  readonly files?: unknown;
}
type Next = (error?: unknown) => void;

const listening = new WeakMap<object, Set<string>>();

// Express tells of an error only those that handle errors: one at the end of the route, put there
// once for a method, hears of it before those of the application and passes it on.
function listenForErrors(route: object, method: string): void {
  const methods = listening.get(route) ?? new Set();
  if (methods.has(method)) return;
  listening.set(route, methods.add(method));
  const add = Reflect.get(route, method.toLowerCase()) as (handler: unknown) => unknown;
  add.call(route, (error: unknown, req: IncomingMessage, _res: ServerResponse, next: Next) => {
    failLayers(req);
    next(error);
  });
}

// Elsewhere it would hear of no error, and half of a handler's writes could be committed.
function apart(): TypeError {
  return new TypeError(
    "In a transaction idempotent() must stand beside its handler: Express tells nobody else of " +
      "errors. Write app.post(path, idempotent(engine, options), handler).",
  );
}

/**
 * Protects what follows it in the chain: `app.post("/payments", idempotent(engine, { scope }),
 * pay)`. Errors given to `next` reach Express's error handlers; what those answer decides by its
 * status whether it is recorded (in a transaction none is: there it must stand beside its handler).
 * The handler finds its `Idempotency` in `req.idempotency`.
 */
export function idempotent<Req extends ExpressRequest = ExpressRequest>(
  engine: Engine,
  options: HttpOptions<Req>,
): (req: Req, res: ServerResponse, next: Next) => void {
  const policy = httpPolicy(options);
  async function protect(req: Req, res: ServerResponse, next: Next): Promise<void> {
    // Before many routes (app.use) no pattern is known yet: then it is the path.
    const layers = req.route?.stack.map(({ handle }) => handle) ?? [];
    const own = layers.includes(middleware) ? req.route : undefined;
    const pattern = String(own?.path ?? req.path);
    const operation = `${req.method} ${req.baseUrl}${pattern}`;
    const { body, file, files } = req as Parsed;
    if (policy.transaction !== undefined) {
      if (own === undefined || layers.at(-1) === middleware) throw apart();
      listenForErrors(own, String(req.method));
    }
    const place = { target: req.originalUrl, operation, parsed: { body, file, files } };
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
  const middleware = (req: Req, res: ServerResponse, next: Next): void =>
    void protect(req, res, next).catch(next);
  return middleware;
}
