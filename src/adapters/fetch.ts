/**
 * The adapter for `Request → Response` handlers: Next.js route handlers, Bun.serve, Deno.serve and
 * whatever else speaks the Web's types.
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
import { peekBody, settleResponse, toResponse, withHeaders } from "./fetch/exchange.ts";

export type { Idempotency } from "../http/execution.ts";

const running = new WeakMap<Request, Idempotency>();

/** What a handler can ask of its execution; `undefined` when it runs without a key. */
export function idempotencyOf(request: Request): Idempotency | undefined {
  return running.get(request);
}

/**
 * Protects a handler. Give `operation` (`"POST /orders/:id/capture"`) where the path has
 * parameters; by default it is the method and the path. If the handler throws, the key is released.
 */
export function idempotent<Req extends Request, Rest extends readonly unknown[]>(
  engine: Engine,
  handler: (request: Req, ...rest: Rest) => Response | Promise<Response>,
  options: HttpOptions<Req>,
): (request: Req, ...rest: Rest) => Promise<Response> {
  const policy = httpPolicy(options);
  return async (request, ...rest) => {
    const admission = await admit(engine, policy, exchangeOf(request, options, policy));
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
        return settleResponse(execution, async () => handler(request, ...rest));
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

function exchangeOf<Req extends Request>(
  request: Req,
  options: HttpOptions<Req>,
  policy: HttpPolicy,
): Exchange {
  const { pathname, search } = new URL(request.url);
  return {
    method: request.method,
    target: pathname + search,
    operation: options.operation ?? `${request.method} ${pathname}`,
    // Headers joins several lines with a comma, which no key contains unquoted.
    header: (name) => [request.headers.get(name)].filter((line) => line !== null),
    scope: () => scopeFor(options, request),
    key: keyFor(options, request),
    signal: policy.waitMs > 0 ? request.signal : undefined,
    content: async () => {
      const body = await peekBody(request, policy.maxRequestBytes);
      if (body === "too-large" || body === "aborted") return body;
      return contentOfBytes(body, request.headers.get("content-type") ?? "", policy.fingerprint);
    },
  };
}
