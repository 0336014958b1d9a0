/**
 * The adapter for Express 4 and 5: a middleware, written against the shape of Express and not its
 * types. Put it behind authentication; body parsers may stand before or behind it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Engine } from "../engine/engine.ts";
import type { Content } from "../engine/values/fingerprint.ts";
import { admit, contentOfBytes } from "../http/admit.ts";
import type { Exchange } from "../http/admit.ts";
import { httpPolicy, scopeFor } from "../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../http/policy.ts";
import { peekBody } from "./node-body.ts";
import { guardResponse, headerLines, sendAnswer } from "./node-exchange.ts";
import type { Idempotency } from "./node-exchange.ts";

export type { Idempotency } from "./node-exchange.ts";

/** What this adapter needs of an Express request. */
export interface ExpressRequest extends IncomingMessage {
  readonly originalUrl: string;
  readonly baseUrl: string;
  readonly path: string;
  readonly route?: { readonly path?: string | RegExp | readonly (string | RegExp)[] };
  readonly body?: unknown;
  /** The key and the claim, while a handler runs under one. */
  idempotency?: Idempotency;
}
export type Next = (error?: unknown) => void;

/**
 * Protects what follows it in the chain: `app.post("/payments", idempotent(engine, { scope }),
 * pay)`. Errors given to `next` reach Express's error handlers; what those answer decides by its
 * status whether it is recorded. The handler finds its claim in `req.idempotency`.
 */
export function idempotent<Req extends ExpressRequest = ExpressRequest>(
  engine: Engine,
  options: HttpOptions<Req>,
): (req: Req, res: ServerResponse, next: Next) => void {
  const policy = httpPolicy(options);
  async function protect(req: Req, res: ServerResponse, next: Next): Promise<void> {
    const admission = await admit(engine, policy, exchangeOf(req, options, policy));
    switch (admission.kind) {
      case "gone":
        return;
      case "answer":
        return sendAnswer(res, admission.answer);
      case "bypass":
        return next();
      case "execute": {
        const { key, claim } = admission;
        guardResponse(res, claim, policy);
        req.idempotency = { key, claim };
        return next();
      }
    }
  }
  return (req, res, next) => void protect(req, res, next).catch(next);
}

function exchangeOf<Req extends ExpressRequest>(
  req: Req,
  options: HttpOptions<Req>,
  policy: HttpPolicy,
): Exchange {
  const method = req.method ?? "GET";
  const pattern = req.route?.path ?? req.path;
  return {
    method,
    target: req.originalUrl,
    operation: options.operation ?? `${method} ${req.baseUrl}${String(pattern)}`,
    header: (name) => headerLines(req, name),
    scope: () => scopeFor(options, req),
    content: () => contentOf(req, policy),
  };
}

// A body parser has read the stream to its end; without one the bytes are still there to be seen.
async function contentOf(
  req: ExpressRequest,
  policy: HttpPolicy,
): Promise<Content | "too-large" | "aborted"> {
  const mediaType = req.headers["content-type"] ?? "";
  if (!req.readableEnded) {
    const body = await peekBody(req, policy.maxRequestBytes);
    return typeof body === "string" ? body : contentOfBytes(body, mediaType);
  }
  const { body } = req;
  if (body === undefined) return contentOfBytes(undefined, mediaType);
  if (req.headers["content-length"] === "0") return contentOfBytes(new Uint8Array(0), mediaType);
  if (typeof body === "string") return contentOfBytes(Buffer.from(body), mediaType);
  if (body instanceof Uint8Array) return contentOfBytes(body, mediaType);
  return { kind: "json", value: body };
}
