/**
 * The adapter for plain `node:http`: wraps a request listener. Further adapters on Node build on
 * `node/exchange.ts`.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Idempotency } from "../http/execution.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { nodeExchange, sendAnswer, setHeaders } from "./node/exchange.ts";
import { answerFailure, guardResponse } from "./node/guard.ts";

export type { Idempotency } from "../http/execution.ts";
export type Listener = (
  req: IncomingMessage,
  res: ServerResponse,
  idempotency?: Idempotency,
) => unknown;

/**
 * Protects a request listener. The listener gets its `Idempotency` as third argument when it
 * runs under one. If it throws before it has answered, the client gets a 500, with a key or
 * without, and the key is released.
 */
export function idempotent(
  engine: Engine,
  options: HttpOptions<IncomingMessage>,
  listener: Listener,
): (req: IncomingMessage, res: ServerResponse) => Promise<void> {
  const policy = httpPolicy(options);
  return async (req, res) => {
    const target = req.url ?? "/";
    const place = { target, operation: `${req.method} ${target.split("?", 1)[0]}` };
    const exchange = nodeExchange([req, res, req], [options, policy], place);
    let fail = (error: unknown): void => answerFailure(res, error);
    try {
      const admission = await admit(engine, policy, exchange);
      switch (admission.kind) {
        case "gone":
          return;
        case "answer":
          return sendAnswer(res, admission.answer);
        case "bypass":
          setHeaders(res, admission.headers);
          return void (await listener(req, res));
        case "execute": {
          const { idempotency } = admission.execution;
          const guard = guardResponse(res, admission.execution);
          ({ fail } = guard);
          await guard.run(() => listener(req, res, idempotency));
        }
      }
    } catch (error) {
      fail(error);
      warn(error);
    }
  };
}

function warn(error: unknown): void {
  process.emitWarning(`A protected listener threw: ${String(error)}`, "LatchkeyWarning");
}
