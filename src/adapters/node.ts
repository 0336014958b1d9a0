/**
 * The adapter for plain `node:http` and for the compatibility API of `node:http2`: wraps a request
 * listener. Further adapters on Node build on `node/exchange.ts`.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Idempotency } from "../http/execution.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { nodeExchange, sendAnswer, setHeaders } from "./node/exchange.ts";
import { answerFailure, guardResponse } from "./node/guard.ts";

export type { Idempotency } from "../http/execution.ts";
/** A request listener, over HTTP/1 unless the types say otherwise. */
export type Listener<Req = IncomingMessage, Res = ServerResponse> = (
  req: Req,
  res: Res,
  idempotency?: Idempotency,
) => unknown;

/**
 * Protects a request listener. The listener gets its `Idempotency` as third argument when it
 * runs under one. If it throws before it has answered, the client gets a 500, with a key or
 * without, and the key is released.
 */
export function idempotent<
  Req extends IncomingMessage | Http2ServerRequest = IncomingMessage,
  Res extends ServerResponse | Http2ServerResponse = ServerResponse,
>(
  engine: Engine,
  options: HttpOptions<Req>,
  listener: Listener<Req, Res>,
): (req: Req, res: Res) => Promise<void> {
  const policy = httpPolicy(options);
  return async (ownReq, ownRes) => {
    // What is used of them is the same over HTTP/2, by Node's compatibility API.
    const [req, res] = [ownReq as IncomingMessage, ownRes as ServerResponse];
    const target = req.url ?? "/";
    const place = { target, operation: `${req.method} ${target.split("?", 1)[0]}` };
    const exchange = nodeExchange([req, res, ownReq], [options, policy], place);
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
          return void (await listener(ownReq, ownRes));
        case "execute": {
          const { idempotency } = admission.execution;
          const guard = guardResponse(res, admission.execution);
          ({ fail } = guard);
          await guard.run(() => listener(ownReq, ownRes, idempotency));
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
