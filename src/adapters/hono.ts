/**
 * The adapter for Hono 4: a middleware, written against the shape of Hono and not its types. Put it
 * behind authentication; validators and other readers of the body may stand before or behind it.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Engine } from "../engine/engine.ts";
import type { Content } from "../engine/values/fingerprint.ts";
import { admit } from "../http/admit.ts";
import type { Exchange } from "../http/admit.ts";
import type { Answer } from "../http/answer.ts";
import type { Idempotency } from "../http/execution.ts";
import { exposedHeaders } from "../http/headers.ts";
import { httpPolicy, keyFor, scopeFor } from "../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../http/policy.ts";
import { contentOfBytes } from "../http/target.ts";
import { bodyOf, initOf, peekBody, toResponse, withHeaders } from "./fetch/exchange.ts";
import { isWorkers } from "./fetch/platform.ts";
import { settleResponse } from "./fetch/settle.ts";
import { methodOf, waitUntilOf } from "./fetch/wait-until.ts";

export type { Idempotency } from "../http/execution.ts";

/**
 * Types `c.get("idempotency")`: `new Hono<{ Variables: IdempotencyVariables }>()`, or for a whole
 * project `declare module "hono" { interface ContextVariableMap extends IdempotencyVariables {} }`.
 */
export interface IdempotencyVariables {
  /** What a handler can ask of its execution; `undefined` when it runs without a key. */
  idempotency?: Idempotency;
}

/** What this adapter needs of a Hono context. */
export interface HonoContext {
  readonly req: {
    readonly raw: Request;
    readonly method: string;
    readonly url: string;
    readonly routeIndex: number;
    readonly matchedRoutes: readonly { readonly method: string; readonly path: string }[];
    readonly bodyCache: object;
    readonly arrayBuffer: () => Promise<ArrayBuffer>;
  };
  readonly finalized: boolean;
  res: Response;
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

const handling = new AsyncLocalStorage<HonoContext>();

/**
 * Runs what follows so that it sees only its own response: a timeout outside may have answered by
 * then, and Hono would drop what the handler answers later, and what is to be recorded (B-79).
 */
async function runHandler(c: HonoContext, next: () => Promise<void>): Promise<Response> {
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

function exchangeOf<C extends HonoContext>(
  c: C,
  options: HttpOptions<C>,
  policy: HttpPolicy,
): Exchange {
  const { raw, method } = c.req;
  const { pathname, search } = new URL(c.req.url);
  return {
    method,
    target: pathname + search,
    operation: options.operation ?? `${method} ${patternOf(c) ?? pathname}`,
    // Headers joins several lines with a comma, which no key contains unquoted.
    header: (name) => [raw.headers.get(name)].filter((line) => line !== null),
    scope: () => scopeFor(options, c),
    key: keyFor(options, c),
    signal: policy.waitMs > 0 ? raw.signal : undefined,
    content: () => contentOf(c, policy),
  };
}

/** The pattern of the handler that will run, also where this middleware stands before many. */
function patternOf({ req }: HonoContext): string | undefined {
  const routes = req.matchedRoutes.slice(req.routeIndex);
  const handler =
    routes.find(({ method }) => method === req.method) ??
    routes.findLast(({ path }) => !path.endsWith("*")) ??
    routes[0];
  return handler?.path;
}

async function contentOf(
  { req }: HonoContext,
  policy: HttpPolicy,
): Promise<Content | "too-large" | "aborted"> {
  const body = await (req.raw.bodyUsed
    ? cachedBody(req, policy.maxRequestBytes)
    : peekBody(req.raw, policy.maxRequestBytes));
  if (body === "too-large" || body === "aborted") return body;
  return contentOfBytes(body, req.raw.headers.get("content-type") ?? "", policy.fingerprint);
}

// What was read past Hono's own methods is gone; form data alone is told apart by no bytes.
async function cachedBody(
  req: HonoContext["req"],
  limitBytes: number,
): Promise<Uint8Array | "too-large"> {
  const [first] = Object.keys(req.bodyCache);
  if (req.raw.headers.get("content-length") === "0") return new Uint8Array(0);
  if (first === undefined || first === "formData") {
    throw new TypeError(
      "The request body was read before idempotent(), and its bytes are not in c.req. " +
        "Put idempotent() before that reader.",
    );
  }
  const body = new Uint8Array(await req.arrayBuffer());
  return body.length > limitBytes ? "too-large" : body;
}
