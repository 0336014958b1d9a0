/**
 * The adapter for Koa 2 and 3: a middleware, written against the shape of Koa and not its types.
 * What the handler left in `ctx.body` is recorded where the middleware stands; what goes past `ctx`
 * is tapped, like on any Node server.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
// Its types are extended below; nothing of it is there at run time.
// oxlint-disable-next-line import/no-empty-named-blocks, unicorn/require-module-specifiers
import type {} from "koa";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import { bodilessStatuses } from "../http/answer.ts";
import type { Answer } from "../http/answer.ts";
import type { Execution, Idempotency } from "../http/execution.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { recordContext } from "./koa/record.ts";
import { detacher, sendDetached } from "./koa/detached.ts";
import { operationOf } from "./koa/route.ts";
import { nodeExchange, setHeaders } from "./node/exchange.ts";
import { guardResponse } from "./node/guard.ts";

export type { Idempotency } from "../http/execution.ts";

declare module "koa" {
  interface DefaultState extends IdempotencyState {}
}

/** What a handler finds in `ctx.state`, for an application with a state type of its own. */
export interface IdempotencyState {
  /** What a handler can ask of its execution; `undefined` when it runs without a key. */
  idempotency?: Idempotency | undefined;
}

/** What this adapter needs of a Koa context. */
export interface KoaContext {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly method: string;
  readonly path: string;
  readonly originalUrl: string;
  readonly get: (header: string) => string;
  readonly request: object;
  readonly response: object;
  readonly state: object;
  readonly message: string;
  body: unknown;
  status: number;
  respond?: boolean | undefined;
}

/**
 * Protects what follows it: `router.post("/payments", idempotent(engine, { scope }), pay)`. An
 * error that the handler throws reaches the layers outside and Koa's own error handling; what those
 * answer decides by its status whether it is recorded (in a transaction none is). The handler finds
 * its `Idempotency` in `ctx.state.idempotency`.
 */
export function idempotent<Ctx extends KoaContext = KoaContext>(
  engine: Engine,
  options: HttpOptions<Ctx>,
): (ctx: Ctx, next: () => Promise<unknown>) => Promise<void> {
  const policy = httpPolicy(options);
  return async (ctx, next) => {
    const { req, res, originalUrl: target } = ctx;
    const place = { target, operation: operationOf(ctx), parsed: ctx.request };
    const exchange = nodeExchange([req, res, ctx], [options, policy], place);
    const admission = await admit(engine, policy, exchange);
    switch (admission.kind) {
      case "gone":
        ctx.respond = false;
        return;
      case "answer":
        return answer(ctx, admission.answer);
      case "bypass":
        setHeaders(res, admission.headers);
        await next();
        return;
      case "execute":
        (ctx.state as IdempotencyState).idempotency = admission.execution.idempotency;
        await execute(ctx, admission.execution, next);
    }
  };
}

/** Answers through the context, so that the layers outside treat it like any response. */
function answer(ctx: KoaContext, { status, headers, body }: Answer): void {
  ctx.status = status;
  ctx.body = bodilessStatuses.has(status) ? null : Buffer.from(body);
  ctx.res.removeHeader("content-type"); // Koa's guess
  setHeaders(ctx.res, headers);
}

async function execute(
  ctx: KoaContext,
  execution: Execution,
  next: () => Promise<unknown>,
): Promise<void> {
  let isAtWork = true;
  const options = { isAtWork: () => isAtWork, onDetached: detacher(ctx) };
  const guard = guardResponse(ctx.res, execution, options);
  const { settle, isDetached } = guard;
  try {
    await guard.run(next);
  } catch (error) {
    execution.fail();
    // Koa has no answer left to give: without this the claim would stay in progress.
    if (isDetached() || ctx.res.headersSent) await execution.release();
    throw error;
  } finally {
    isAtWork = false;
  }
  if (ctx.respond === false || ctx.res.headersSent) return;
  const { maxRecordedBytes: limitBytes, release } = execution;
  const isGone = (): boolean => ctx.req.socket.destroyed;
  const instead = (given: Answer): void => answer(ctx, given);
  const recording = { limitBytes, settle, release, isGone, answer: instead };
  const isRecorded = await recordContext(ctx, recording);
  if (!isRecorded && isDetached()) sendDetached(ctx);
}
