/**
 * The adapter for `Request → Response` handlers: Next.js route handlers, Bun.serve, Deno.serve,
 * Workers, and whatever else speaks the Web's types.
 */
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Exchange } from "../http/admit.ts";
import type { Answer } from "../http/answer.ts";
import type { Idempotency } from "../http/execution.ts";
import { exposedHeaders } from "../http/headers.ts";
import { httpPolicy, keyFor, scopeFor } from "../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../http/policy.ts";
import { contentOfBytes } from "../http/target.ts";
import { peekBody, toResponse, withHeaders } from "./fetch/exchange.ts";
import { settleResponse } from "./fetch/settle.ts";
import { waitUntilOf } from "./fetch/wait-until.ts";

export type { Idempotency } from "../http/execution.ts";

/** Options of a route: the shared ones, and how the platform is told of work that goes on. */
export interface FetchOptions<
  Req,
  Rest extends readonly unknown[] = readonly [],
> extends HttpOptions<Req, Rest> {
  /**
   * Keeps the platform at work until the outcome is recorded, whatever becomes of the client: for
   * Next.js `(work) => after(work)`. Default: the `waitUntil` method of the last argument that has
   * one, such as the `ctx` of a Worker.
   */
  readonly waitUntil?: (work: Promise<unknown>, request: Req, ...rest: Rest) => void;
}

const running = new WeakMap<Request, Idempotency>();

/** What a handler can ask of its execution; `undefined` when it runs without a key. */
export function idempotencyOf(request: Request): Idempotency | undefined {
  return running.get(request);
}

/**
 * Protects a handler. Give `operation` (`"POST /orders/:id/capture"`) where the path has
 * parameters; by default it is the method and the path. What the platform passes beside the request
 * (`params`, `env`, `ctx`) reaches the handler, `scope` and `key` too. If the handler throws, the
 * key is released.
 */
export function idempotent<
  Req extends Request,
  Rest extends readonly unknown[],
  Res extends Response | undefined,
>(
  engine: Engine,
  handler: (request: Req, ...rest: Rest) => Res | Promise<Res>,
  options: FetchOptions<Req, Rest>,
): (request: Req, ...rest: Rest) => Promise<Res | Response> {
  const { waitUntil, ...shared } = options ?? {};
  const policy = httpPolicy(shared);
  return async (request, ...rest) => {
    const exchange = exchangeOf(shared, policy, [request, ...rest]);
    const waiting = { ...exchange, waitUntil: waitUntilOf(waitUntil, [request, ...rest]) };
    const admission = await admit(engine, policy, waiting);
    switch (admission.kind) {
      case "gone":
        return new Response(null, { status: 400 });
      case "answer":
        return exposed(request, admission.answer);
      case "bypass":
        return withHeaders(await handler(request, ...rest), admission.headers);
      case "execute": {
        const { execution } = admission;
        running.set(request, execution.idempotency);
        return settleResponse(execution, request, async () => handler(request, ...rest));
      }
    }
  };
}

// CORS is a wrapper outside, whose headers are not there yet: whoever has an origin may read ours
// (B-105).
function exposed(request: Request, answer: Answer): Response {
  const response = toResponse(answer);
  if (request.headers.has("origin")) {
    response.headers.set("access-control-expose-headers", exposedHeaders("", answer.headers));
  }
  return response;
}

function exchangeOf<Req extends Request, Rest extends readonly unknown[]>(
  options: HttpOptions<Req, Rest>,
  policy: HttpPolicy,
  [request, ...rest]: readonly [Req, ...Rest],
): Exchange {
  const { pathname, search } = new URL(request.url);
  return {
    request,
    method: request.method,
    target: pathname + search,
    operation: options.operation ?? `${request.method} ${pathname}`,
    // Headers joins several lines with a comma, which no key contains unquoted.
    header: (name) => [request.headers.get(name)].filter((line) => line !== null),
    scope: () => scopeFor(options, request, ...rest),
    key: keyFor(options, request, ...rest),
    signal: policy.waitMs > 0 ? request.signal : undefined,
    content: async () => {
      const body = await peekBody(request, policy.maxRequestBytes);
      if (body === "too-large" || body === "aborted") return body;
      return contentOfBytes(body, request.headers.get("content-type") ?? "", policy.fingerprint);
    },
  };
}
