/**
 * Which routes of a Fastify instance are protected: those registered after the plugin, unless their
 * config says otherwise; one registered before is refused rather than left unprotected.
 */
import type { IncomingMessage } from "node:http";
import { failLayers } from "../../http/layers.ts";
import { isDetached } from "./reply.ts";
import type { FastifyReply } from "./reply.ts";

/** A route as the guard sees it. */
export interface FastifyRoute {
  /** Its path pattern, and its constraints where it has some. */
  readonly pattern: string;
}

interface Hooks {
  readonly preHandler: unknown;
  readonly onSend: unknown;
  /** Then the layer must hear of what the handler throws, before error handlers do. */
  readonly isTransaction: boolean;
}
type Guard = (route: FastifyRoute, own: unknown) => Hooks;

interface RouteOptions {
  readonly url: string;
  readonly constraints?: object;
  config?: object;
  preHandler?: unknown;
  onSend?: unknown;
  handler: (this: unknown, request: Request, reply: SentReply) => unknown;
}
type SentReply = FastifyReply & { readonly sent: boolean };
interface Request {
  readonly raw: IncomingMessage;
  readonly method: string;
  readonly is404: boolean;
  readonly routeOptions: { readonly url?: string | undefined; readonly config: object };
}
type Done = (error?: Error) => void;

/** What the layer needs of an instance; its own types are generic, and plain at run time. */
export interface FastifyApp {
  readonly decorateRequest: (name: "idempotency", value: null) => unknown;
  readonly addHook: ((name: "onRoute", hook: (route: RouteOptions) => void) => unknown) &
    ((name: "preHandler", hook: (request: Request, reply: unknown, done: Done) => void) => unknown);
}

const seen = Symbol("latchkey has seen this route");

/** Gives each route that is registered from now on its hooks, by its config. */
export function guardRoutes(app: FastifyApp, methods: ReadonlySet<string>, guard: Guard): void {
  app.decorateRequest("idempotency", null);
  app.addHook("onRoute", (route) => {
    const { idempotency: own = {} } = (route.config ?? {}) as { readonly idempotency?: unknown };
    route.config = { ...route.config, [seen]: true };
    if (own === false) return;
    const hooks = guard({ pattern: patternOf(route) }, own);
    route.preHandler = [route.preHandler ?? [], hooks.preHandler].flat();
    route.onSend = [route.onSend ?? [], hooks.onSend].flat();
    route.handler = answering(hooks.isTransaction ? telling(route.handler) : route.handler);
  });
  // Hooks of an instance reach its earlier routes as well.
  app.addHook("preHandler", ({ method, is404, routeOptions: { url, config } }, _reply, done) => {
    const isMissed = !is404 && !(seen in config) && methods.has(method);
    const isMeant = (config as { readonly idempotency?: unknown }).idempotency !== false;
    done(isMissed && isMeant ? registeredBefore(`${method} ${url}`) : undefined);
  });
}

function registeredBefore(route: string): Error {
  return new Error(
    `The route ${route} was registered before idempotent(), so it is not protected. Await ` +
      "app.register(idempotent(...)) first, or say config: { idempotency: false }.",
  );
}

// Routes that differ in a constraint (a version, a host) only are different operations.
function patternOf({ url, constraints = {} }: RouteOptions): string {
  const named = Object.entries(constraints).map(([name, value]) => ` ${name}=${String(value)}`);
  return url + named.toSorted().join("");
}

// Fastify does not send the empty reply of a handler that returns nothing once its client has left
// (B-76), and for a second error of one reply, behind a timeout's, forgets the status (B-79).
function answering(handler: RouteOptions["handler"]): RouteOptions["handler"] {
  return function answer(request, reply) {
    const returned = handler.call(this, request, reply);
    if (!isThenable(returned)) return returned;
    return returned.then(
      (payload) => {
        const isLeft = payload === undefined && request.raw.socket.destroyed;
        if (isLeft && !reply.sent && !reply.raw.headersSent) reply.send();
        return payload;
      },
      (error: unknown) => {
        if (isDetached(reply)) reply.code(statusOf(error));
        throw error;
      },
    );
  };
}

function telling(handler: RouteOptions["handler"]): RouteOptions["handler"] {
  return function tell(request, reply) {
    const thrown = (error: unknown): never => {
      failLayers(request.raw);
      throw error;
    };
    const { send } = reply;
    const sent = (payload: unknown): unknown => {
      if (payload instanceof Error) failLayers(request.raw);
      return send.call(reply, payload);
    };
    Object.assign(reply, { send: sent });
    try {
      const returned = handler.call(this, request, reply);
      return isThenable(returned) ? returned.then(undefined, thrown) : returned;
    } catch (error) {
      return thrown(error);
    }
  };
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}

function statusOf(error: unknown): number {
  const { statusCode, status = statusCode } = (error ?? {}) as Readonly<Record<string, unknown>>;
  const code = Number(statusCode ?? status);
  return code >= 400 && code <= 599 ? code : 500;
}
