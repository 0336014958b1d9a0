/**
 * The adapter for Fastify 5: a plugin, written against the shape of Fastify and not its types; two
 * of those it extends. Register it before the routes; it runs as the last preHandler, behind
 * authentication.
 */
import type { IncomingMessage } from "node:http";
// Its types are extended below; nothing of it is there at run time.
// oxlint-disable-next-line import/no-empty-named-blocks, unicorn/require-module-specifiers
import type {} from "fastify";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Idempotency } from "../http/execution.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { detacher, restoreBody, sendRestored } from "./fastify/reply.ts";
import type { FastifyReply } from "./fastify/reply.ts";
import { guardRoutes } from "./fastify/routes.ts";
import type { FastifyApp, FastifyRoute } from "./fastify/routes.ts";
import { nodeExchange, setHeaders } from "./node/exchange.ts";
import { guardResponse } from "./node/guard.ts";

export type { Idempotency } from "../http/execution.ts";

/** What this adapter needs of a Fastify request. */
export interface FastifyRequest {
  readonly raw: IncomingMessage;
  readonly method: string;
  readonly headers: IncomingMessage["headers"];
  readonly originalUrl: string;
  readonly body?: unknown;
  /** What a handler can ask of its execution; `null` when it runs without a key. */
  idempotency: Idempotency | null;
}

/** Options of one route in its `config`: merged over the plugin's, or `false` for no protection. */
export type IdempotencyRouteOptions = Partial<HttpOptions<FastifyRequest>> | false;

type AnyRequest = FastifyRequest;
declare module "fastify" {
  interface FastifyRequest {
    /** What a handler can ask of its execution; `null` when it runs without a key. */
    idempotency: Idempotency | null;
  }
  interface FastifyContextConfig {
    /** Options of this route, merged over the plugin's, or `false` for no protection. */
    idempotency?: IdempotencyRouteOptions | undefined;
  }
}

/**
 * A plugin that protects the routes registered after it:
 * `await app.register(idempotent(engine, { scope: (request) => request.user.id }))`. A route says
 * more in its `config: { idempotency: { required: true } }`, or `false`. The handler finds its
 * `Idempotency` in `request.idempotency`.
 */
export function idempotent<Req extends AnyRequest = AnyRequest>(
  engine: Engine,
  options: HttpOptions<Req>,
): (app: object, own: unknown, done: () => void) => void {
  const { methods } = httpPolicy(options); // mistakes show at once, not with the first route
  const plugin = (app: object, _own: unknown, done: () => void): void => {
    guardRoutes(app as FastifyApp, methods, (route, own) => {
      const given = { ...options, ...(own as object) };
      const preHandler = guardRoute(engine, given, route);
      return { preHandler, onSend: restoreBody, isTransaction: given.transaction !== undefined };
    });
    done();
  };
  // What fastify-plugin would set: the routes to protect are beside this plugin, not inside it.
  return Object.assign(plugin, {
    [Symbol.for("skip-override")]: true,
    [Symbol.for("fastify.display-name")]: "latchkey",
    [Symbol.for("plugin-meta")]: { name: "latchkey", fastify: "5.x" },
  });
}

type Done = (error?: Error) => void;
type Hook<Req> = (request: Req, reply: FastifyReply, done: Done) => void;

function guardRoute<Req extends AnyRequest>(
  engine: Engine,
  options: HttpOptions<Req>,
  route: FastifyRoute,
): Hook<Req> {
  const policy = httpPolicy(options);
  async function protect(request: Req, reply: FastifyReply, done: Done): Promise<void> {
    const { raw, method, originalUrl: target, body } = request;
    const place = { target, operation: `${method} ${route.pattern}`, parsed: { body } };
    const exchange = nodeExchange([raw, reply.raw, request], [options, policy], place);
    const admission = await admit(engine, policy, exchange);
    switch (admission.kind) {
      case "gone":
        return;
      case "answer":
        return sendRestored(reply, admission.answer);
      case "bypass":
        setHeaders(reply.raw, admission.headers);
        return done();
      case "execute": {
        const { execution } = admission;
        request.idempotency = execution.idempotency;
        const onDetached = detacher(reply);
        return guardResponse(reply.raw, execution, { onDetached }).run(() => done());
      }
    }
  }
  return (request, reply, done) => void protect(request, reply, done).catch(done);
}
