/**
 * The adapter for Fastify 5: a plugin, written against the shape of Fastify and not its types.
 * Register it before the routes; it runs as the last preHandler, behind authentication.
 */
import type { IncomingMessage } from "node:http";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import { bodilessStatuses } from "../http/answer.ts";
import type { Answer } from "../http/answer.ts";
import type { Idempotency } from "../http/execution.ts";
import { byName, withExposure } from "../http/headers.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { nodeExchange, setHeaders } from "./node/exchange.ts";
import { guardResponse } from "./node/guard.ts";

export type { Idempotency } from "../http/execution.ts";

/** What this adapter needs of a Fastify request. */
export interface FastifyRequest {
  readonly raw: IncomingMessage;
  readonly method: string;
  readonly originalUrl: string;
  readonly body?: unknown;
  readonly routeOptions: { readonly url?: string | undefined };
  /** What a handler can ask of its execution; absent when it runs without a key. */
  idempotency?: Idempotency | null;
}
type Done = (error?: Error) => void;
type Hook = (request: never, reply: never, done: Done) => void;
interface RouteOptions {
  preHandler?: unknown;
  readonly config?: unknown;
}
// What this adapter needs of an instance; its own types are generic, and plain at run time.
interface FastifyApp {
  readonly decorateRequest: (name: "idempotency", value: null) => unknown;
  readonly addHook: (name: "onRoute", hook: (route: never) => void) => unknown;
}

/** Options of one route in its `config`: merged over the plugin's, or `false` for no protection. */
export interface IdempotencyRouteConfig<Req = FastifyRequest> {
  readonly idempotency?: Partial<HttpOptions<Req>> | false;
}

/**
 * A plugin that protects the routes registered after it:
 * `await app.register(idempotent(engine, { scope: (request) => request.user.id }))`. A route says
 * more in its `config: { idempotency: { required: true } }`, or `false`. The handler finds its
 * `Idempotency` in `request.idempotency`.
 */
export function idempotent<Req extends FastifyRequest = FastifyRequest>(
  engine: Engine,
  options: HttpOptions<Req>,
): (app: object, own: unknown, done: Done) => void {
  httpPolicy(options); // mistakes show at once, not with the first route
  const plugin = (instance: object, _own: unknown, done: Done): void => {
    const app = instance as FastifyApp;
    app.decorateRequest("idempotency", null);
    app.addHook("onRoute", (route: RouteOptions) => {
      const { idempotency = {} } = (route.config ?? {}) as IdempotencyRouteConfig<Req>;
      if (idempotency === false) return;
      const hook = guardRoute(engine, { ...options, ...idempotency });
      route.preHandler = [route.preHandler ?? [], hook].flat();
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

function guardRoute<Req extends FastifyRequest>(engine: Engine, options: HttpOptions<Req>): Hook {
  const policy = httpPolicy(options);
  async function protect(request: Req, reply: FastifyReply, done: Done): Promise<void> {
    const place = {
      target: request.originalUrl,
      operation: `${request.method} ${request.routeOptions.url ?? request.originalUrl}`,
      parsed: { body: request.body },
    };
    const exchange = nodeExchange([request.raw, reply.raw, request], [options, policy], place);
    const admission = await admit(engine, policy, exchange);
    switch (admission.kind) {
      case "gone":
        return;
      case "answer":
        return sendReply(reply, admission.answer);
      case "bypass":
        setHeaders(reply.raw, admission.headers);
        return done();
      case "execute":
        request.idempotency = admission.execution.idempotency;
        return guardResponse(reply.raw, admission.execution).run(() => done());
    }
  }
  return (request: Req, reply: FastifyReply, done: Done) => {
    void protect(request, reply, done).catch(done);
  };
}

// Through the reply, so that hooks and headers of the layers outside apply to this exchange.
function sendReply(reply: FastifyReply, { status, headers, body }: Answer): void {
  reply.code(status);
  const all = withExposure(headers, (name) => reply.getHeader(name));
  for (const [name, value] of byName(all)) reply.header(name, value);
  const isBodiless = bodilessStatuses.has(status) || body.length === 0;
  reply.send(isBodiless ? undefined : Buffer.from(body));
}
