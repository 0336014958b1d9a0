/**
 * The adapter for Express 4 and 5: a middleware, written against the shape of Express and not its
 * types. Put it behind authentication; body parsers may stand before or behind it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Engine } from "../engine/engine.ts";
import type { Content } from "../engine/values/fingerprint.ts";
import { admit } from "../http/admit.ts";
import type { Idempotency } from "../http/execution.ts";
import { httpPolicy } from "../http/policy.ts";
import type { FingerprintOptions, HttpOptions } from "../http/policy.ts";
import { contentOfBytes } from "../http/target.ts";
import { guardResponse, nodeExchange, sendAnswer, setHeaders } from "./node-exchange.ts";

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
      // A body parser has read the stream to its end; without one the bytes are still there.
      content: req.readableEnded ? () => parsedContent(req, policy.fingerprint) : undefined,
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

// What a parser has read and not left in req.body could differ unseen between two requests.
function parsedContent(req: ExpressRequest, options: FingerprintOptions): Content {
  const { body, headers } = req;
  const mediaType = headers["content-type"] ?? "";
  const length = headers["content-length"];
  if (length === undefined && headers["transfer-encoding"] === undefined) return { kind: "none" };
  if (length === "0") return { kind: "bytes", bytes: new Uint8Array(0) };
  if (body === undefined || "file" in req || "files" in req) {
    throw new TypeError(
      "The request body was read before idempotent(), and not all of it is in req.body. " +
        "Put idempotent() before the parser.",
    );
  }
  if (typeof body === "string") return contentOfBytes(Buffer.from(body), mediaType, options);
  if (body instanceof Uint8Array) return contentOfBytes(body, mediaType, options);
  return { kind: "json", value: body };
}
