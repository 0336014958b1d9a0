/**
 * The interceptor: after the guards, before the pipes. It admits the request, and either taps the
 * response of the execution or answers by itself.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ExecutionContext, NestInterceptor } from "@nestjs/common";
import { of, tap } from "rxjs";
import type { Engine } from "../../engine/engine.ts";
import { admit } from "../../http/admit.ts";
import type { Answer } from "../../http/answer.ts";
import type { HttpOptions } from "../../http/policy.ts";
import { sendReply } from "../fastify/reply.ts";
import type { FastifyReply } from "../fastify/reply.ts";
import { nodeExchange, sendAnswer, setHeaders } from "../node/exchange.ts";
import { standInFor } from "../node/stand-in.ts";
import { guardHandler } from "./handler.ts";
import { createRoutes, declaredContentHeaders, placeOf } from "./route.ts";
import type { NestRequest } from "./route.ts";

type Request = NestRequest & { readonly raw?: IncomingMessage };
type Response = FastifyReply | (ServerResponse & { readonly raw?: undefined });

/** The interceptor of an application; `options` are the module's, decorators say more. */
export function createInterceptor(
  engine: Engine,
  options: HttpOptions<NestRequest>,
): NestInterceptor {
  const routeOf = createRoutes(options);
  return {
    intercept: async (context, next) => {
      const route = context.getType() === "http" ? routeOf(context) : undefined;
      if (route === undefined) return next.handle();
      const http = context.switchToHttp();
      const request = http.getRequest<Request>();
      const response = http.getResponse<Response>();
      const req = request.raw ?? (request as unknown as IncomingMessage);
      const res = response.raw ?? response;
      const place = placeOf(context, request);
      const exchange = nodeExchange([req, res, request], [route.options, route.policy], place);
      const admission = await admit(engine, route.policy, exchange);
      switch (admission.kind) {
        case "gone":
          silence(response);
          return of(undefined);
        case "answer":
          await answer(context, response, admission.answer);
          silence(response);
          return of(undefined);
        case "bypass":
          setHeaders(res, admission.headers);
          return next.handle();
        case "execute": {
          request.idempotency = admission.execution.idempotency;
          const guard = guardHandler(req, res, admission.execution);
          // Told of before Nest's exception filters make an answer of it.
          const failing = tap({ error: admission.execution.fail });
          return guard.run(() => next.handle().pipe(failing));
        }
      }
    },
  };
}

/** Answers, and waits until the response is over. */
async function answer(
  context: ExecutionContext,
  response: Response,
  content: Answer,
): Promise<void> {
  const res = response.raw ?? response;
  const over = new Promise<void>((resolve) => {
    if (res.closed) resolve();
    else res.once("close", resolve);
  });
  for (const name of declaredContentHeaders(context)) response.removeHeader(name);
  if (response.raw === undefined) sendAnswer(response, content);
  else sendReply(response, content);
  await over;
}

// Interceptors outside see a handler that returned nothing. What they and Nest then do to the
// response leads nowhere: it is over.
function silence(response: Response): void {
  const nothing = (): Response => response;
  Object.assign(response, { send: nothing, render: nothing, view: nothing });
  if (response.raw === undefined) standInFor(response, { statusCode: 200, headers: {} });
}
