/**
 * The adapter for plain `node:http`: wraps a request listener. Further adapters on Node build on
 * `node-exchange.ts`.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Engine } from "../engine/engine.ts";
import { admit, contentOfBytes } from "../http/admit.ts";
import type { Exchange } from "../http/admit.ts";
import { httpPolicy, scopeFor } from "../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../http/policy.ts";
import { peekBody } from "./node-body.ts";
import { guardResponse, headerLines, sendAnswer } from "./node-exchange.ts";
import type { Idempotency } from "./node-exchange.ts";

export type { Idempotency } from "./node-exchange.ts";
export type Listener = (
  req: IncomingMessage,
  res: ServerResponse,
  idempotency?: Idempotency,
) => unknown;

/**
 * Protects a request listener. The listener gets the key and claim as its third argument when it
 * runs under one. If it throws before it has answered, the client gets a 500 and the key is
 * released.
 */
export function idempotent(
  engine: Engine,
  options: HttpOptions<IncomingMessage>,
  listener: Listener,
): (req: IncomingMessage, res: ServerResponse) => Promise<void> {
  const policy = httpPolicy(options);
  return async (req, res) => {
    const admission = await admit(engine, policy, exchangeOf(req, options, policy));
    if (admission.kind === "gone") return;
    if (admission.kind === "answer") return sendAnswer(res, admission.answer);
    if (admission.kind === "bypass") return void (await listener(req, res));
    const { claim, key } = admission;
    const fail = guardResponse(res, claim, policy);
    try {
      await listener(req, res, { key, claim });
    } catch (error) {
      fail(error);
      process.emitWarning(`A protected listener threw: ${String(error)}`, "LatchkeyWarning");
    }
  };
}

function exchangeOf(
  req: IncomingMessage,
  options: HttpOptions<IncomingMessage>,
  policy: HttpPolicy,
): Exchange {
  const method = req.method ?? "GET";
  const target = req.url ?? "/";
  return {
    method,
    target,
    operation: options.operation ?? `${method} ${target.split("?", 1)[0]}`,
    header: (name) => headerLines(req, name),
    scope: () => scopeFor(options, req),
    content: async () => {
      const body = await peekBody(req, policy.maxRequestBytes);
      if (body === "too-large" || body === "aborted") return body;
      return contentOfBytes(body, req.headers["content-type"] ?? "");
    },
  };
}
