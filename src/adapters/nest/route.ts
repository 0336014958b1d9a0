/**
 * What Nest knows of a route: its options, merged from the module, the controller and the method,
 * and its place: operation, target and body, on Express and on Fastify.
 */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { ExecutionContext } from "@nestjs/common";
import { Reflector } from "@nestjs/core";
import type { Idempotency } from "../../http/execution.ts";
import { httpPolicy } from "../../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../../http/policy.ts";
import type { Place } from "../node/exchange.ts";

/** What this adapter needs of a request; Express's and Fastify's both have it. */
export interface NestRequest {
  readonly method: string;
  readonly originalUrl: string;
  readonly headers: IncomingHttpHeaders;
  readonly body?: unknown;
  /** What a handler can ask of its execution; absent when it runs without a key. */
  idempotency?: Idempotency | null;
}

/** Only Fastify's requests have `raw` and `routeOptions`, only Express's `route`. */
interface PlacedRequest extends NestRequest {
  readonly raw?: IncomingMessage;
  readonly rawBody?: unknown;
  readonly hostname?: string;
  readonly routeOptions?: { readonly url?: string | undefined };
  readonly baseUrl?: string;
  readonly route?: { readonly path: string | RegExp };
}

export interface Route {
  readonly options: HttpOptions<NestRequest>;
  readonly policy: HttpPolicy;
}

/** Where `@Idempotent()` leaves its options. */
export const IDEMPOTENT: unique symbol = Symbol("latchkey:idempotent");
type Given = Partial<HttpOptions<NestRequest>> | false | undefined;
type Key = string | symbol;

const reflector = new Reflector();

function ofMethod(context: ExecutionContext, key: Key): unknown {
  return reflector.get<unknown, Key>(key, context.getHandler());
}

function ofController(context: ExecutionContext, key: Key): unknown {
  return reflector.get<unknown, Key>(key, context.getClass());
}

/** The route of an execution by its decorators; `undefined` where it is exempt. */
export function createRoutes(
  options: HttpOptions<NestRequest>,
): (context: ExecutionContext) => Route | undefined {
  const controllers = new Map<unknown, Map<unknown, Route | undefined>>();
  return (context) => {
    const controller = context.getClass();
    const routes = controllers.get(controller) ?? new Map<unknown, Route | undefined>();
    controllers.set(controller, routes);
    const handler = context.getHandler();
    if (!routes.has(handler)) routes.set(handler, routeOf(context, options));
    return routes.get(handler);
  };
}

function routeOf(context: ExecutionContext, options: HttpOptions<NestRequest>): Route | undefined {
  const outer = ofController(context, IDEMPOTENT) as Given;
  const own = ofMethod(context, IDEMPOTENT) as Given;
  if ((own ?? outer) === false) return undefined;
  const merged = { ...options, ...outer, ...own };
  return { options: merged, policy: httpPolicy(merged) };
}

/** Whether the handler sends events, which have no other end than its client's leaving. */
export function isEventHandler(context: ExecutionContext): boolean {
  return ofMethod(context, "__sse__") === true;
}

/** The content headers that `@Header()` declares: they belong to the handler's own response. */
export function declaredContentHeaders(context: ExecutionContext): readonly string[] {
  const declared = (ofMethod(context, "__headers__") ?? []) as readonly { readonly name: string }[];
  return declared.map(({ name }) => name).filter((name) => /^content-/i.test(name));
}

/** What is asked for, and of which operation. */
export function placeOf(context: ExecutionContext, request: PlacedRequest): Place {
  const { method, originalUrl, rawBody, routeOptions } = request;
  const path =
    routeOptions === undefined
      ? `${request.baseUrl ?? ""}${String(request.route?.path ?? originalUrl)}`
      : (routeOptions.url ?? originalUrl);
  const host = ofController(context, "host") as string | RegExp | undefined;
  // With an upload plugin every request of Fastify has `file`.
  const parsed = request.raw === undefined ? request : { rawBody, body: request.body };
  return {
    target: host === undefined ? originalUrl : `//${request.hostname ?? ""}${originalUrl}`,
    operation: `${method} ${String(host ?? "")}${path}${unseenVersion(context, path)}`,
    parsed,
  };
}

/** A version that the path does not show, but a header or a media type asks for (B-59). */
function unseenVersion(context: ExecutionContext, path: string): string {
  const given = ofMethod(context, "__version__") ?? ofController(context, "__version__");
  const versions = [given].flat().filter((one): one is string => typeof one === "string");
  const isShown = path
    .split("/")
    .some((part) =>
      versions.some((one) => part.endsWith(one) && !/\d/.test(part.slice(0, -one.length))),
    );
  return isShown || versions.length === 0 ? "" : ` (version ${versions.join()})`;
}
