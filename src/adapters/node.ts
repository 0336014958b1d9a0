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
    const target = req.url ?? "/";
    const place = { target, operation: `${req.method} ${target.split("?", 1)[0]}` };
    const exchange = nodeExchange([req, res, req], [options, policy], place);
    const admission = await admit(engine, policy, exchange).catch((error: unknown) => {
      answerFailure(res, error);
      warn(error);
      return undefined;
    });
    switch (admission?.kind) {
      case undefined:
      case "gone":
        return;
      case "answer":
        return sendAnswer(res, admission.answer);
      case "bypass":
        setHeaders(res, admission.headers);
        try {
          await listener(req, res);
        } catch (error) {
          answerFailure(res, error);
          warn(error);
        }
        return;
      case "execute": {
        const { execution } = admission;
        const { run, fail } = guardResponse(res, execution);
        try {
          await run(() => listener(req, res, execution.idempotency));
        } catch (error) {
          fail(error);
          warn(error);
        }
      }
    }
  };
}

function warn(error: unknown): void {
  process.emitWarning(`A protected listener threw: ${String(error)}`, "LatchkeyWarning");
}
