/**
 * The adapter for `Request → Response` handlers: Next.js route handlers, Bun.serve, Deno.serve and
 * whatever else speaks the Web's types.
 */
import type { Claim } from "../engine/claim.ts";
import type { Engine } from "../engine/engine.ts";
import { admit, contentOfBytes } from "../http/admit.ts";
import type { Exchange } from "../http/admit.ts";
import type { Answer } from "../http/answer.ts";
import { createKeep } from "../http/keep.ts";
import { httpPolicy, scopeFor } from "../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../http/policy.ts";
import { isRecorded, settleAnswer } from "../http/recorded.ts";
import { recordedStream } from "./fetch-stream.ts";

/** What a handler can ask of its own execution. */
export interface Idempotency {
  readonly key: string;
  readonly claim: Claim;
}
const running = new WeakMap<Request, Idempotency>();

/** The key and claim under which a handler runs; `undefined` when the request carries no key. */
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
        return toResponse(admission.answer);
      case "bypass":
        return handler(request, ...rest);
      case "execute": {
        const { key, claim } = admission;
        running.set(request, { key, claim });
        const respond = async () => handler(request, ...rest);
        return settleResponse(claim, await respond().catch(releaseFor(claim)), policy);
      }
    }
  };
}

function releaseFor(claim: Claim): (error: unknown) => Promise<never> {
  return async (error) => {
    await claim.release();
    throw error;
  };
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
    content: async () => {
      const body = await peekBody(request, policy.maxRequestBytes);
      if (body === "too-large" || body === "aborted") return body;
      return contentOfBytes(body, request.headers.get("content-type") ?? "");
    },
  };
}

// A clone, so that the handler gets the very request it was called with, its body unread.
async function peekBody(
  request: Request,
  limitBytes: number,
): Promise<Uint8Array | undefined | "too-large" | "aborted"> {
  if (request.body === null) return undefined;
  if (Number(request.headers.get("content-length") ?? 0) > limitBytes) return "too-large";
  const keep = createKeep(limitBytes);
  try {
    for await (const chunk of request.clone().body ?? []) {
      keep.add(chunk);
      if (keep.isOver()) return "too-large";
    }
  } catch {
    return "aborted"; // the client went away while it was sending
  }
  return keep.body();
}

async function settleResponse(
  claim: Claim,
  response: Response,
  policy: HttpPolicy,
): Promise<Response> {
  const { status, statusText } = response;
  const headers = [...response.headers];
  if (response.body === null || !isRecorded(status)) {
    await settleAnswer(claim, { status, headers, body: new Uint8Array(0) }, policy);
    return response;
  }
  const stream = recordedStream(response.body, {
    keep: createKeep(policy.maxRecordedBytes),
    onEnd: (body) => settleAnswer(claim, { status, headers, body }, policy),
    onError: () => claim.release(),
  });
  return new Response(stream, { status, statusText, headers: response.headers });
}

function toResponse({ status, headers, body }: Answer): Response {
  const bodiless = status === 204 || status === 304;
  const init = { status, headers: headers.map(([name, value]): [string, string] => [name, value]) };
  return new Response(bodiless ? null : Uint8Array.from(body), init);
}
