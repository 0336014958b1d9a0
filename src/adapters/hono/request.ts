/** A Hono request as `admit` sees it: its route, and its body, read before or not. */
import type { Content } from "../../engine/values/fingerprint.ts";
import type { Exchange } from "../../http/admit.ts";
import { keyFor, scopeFor } from "../../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../../http/policy.ts";
import { contentOfBytes } from "../../http/target.ts";
import { peekBody } from "../fetch/exchange.ts";

/** What the layer needs of a Hono request. */
export interface HonoRequest {
  readonly raw: Request;
  readonly method: string;
  readonly url: string;
  readonly routeIndex: number;
  readonly matchedRoutes: readonly { readonly method: string; readonly path: string }[];
  readonly bodyCache: object;
  arrayBuffer(): Promise<ArrayBuffer>;
  header(name: string): string | undefined;
}

/** The exchange of a request in a Hono context. */
export function exchangeOf<C extends { readonly req: HonoRequest }>(
  c: C,
  options: HttpOptions<C>,
  policy: HttpPolicy,
): Exchange {
  const { raw, method } = c.req;
  const { pathname, search } = new URL(c.req.url);
  return {
    request: c.req,
    method,
    target: pathname + search,
    operation: options.operation ?? `${method} ${patternOf(c.req) ?? pathname}`,
    // Headers joins several lines with a comma, which no key contains unquoted.
    header: (name) => [raw.headers.get(name)].filter((line) => line !== null),
    scope: () => scopeFor(options, c),
    key: keyFor(options, c),
    signal: policy.waitMs > 0 ? raw.signal : undefined,
    content: () => contentOf(c.req, policy),
  };
}

/** The pattern of the handler that will run, also where this middleware stands before many. */
function patternOf({ method, matchedRoutes, routeIndex }: HonoRequest): string | undefined {
  const routes = matchedRoutes.slice(routeIndex);
  const handler =
    routes.find((route) => route.method === method) ??
    routes.findLast(({ path }) => !path.endsWith("*")) ??
    routes[0];
  return handler?.path;
}

async function contentOf(
  req: HonoRequest,
  { maxRequestBytes, fingerprint }: HttpPolicy,
): Promise<Content | "too-large" | "aborted"> {
  const { raw } = req;
  const body = await (raw.bodyUsed
    ? cachedBody(req, maxRequestBytes)
    : peekBody(raw, maxRequestBytes));
  if (body === "too-large" || body === "aborted") return body;
  return contentOfBytes(body, raw.headers.get("content-type") ?? "", fingerprint);
}

// What was read past Hono's own methods is gone; form data alone is told apart by no bytes.
async function cachedBody(req: HonoRequest, limitBytes: number): ReturnType<typeof peekBody> {
  const [first] = Object.keys(req.bodyCache);
  if (req.raw.headers.get("content-length") === "0") return new Uint8Array(0);
  if (first === undefined || first === "formData") {
    throw new TypeError(
      "The request body was read before idempotent(), and its bytes are not in c.req. " +
        "Put idempotent() before that reader.",
    );
  }
  const body = new Uint8Array(await req.arrayBuffer());
  return body.length > limitBytes ? "too-large" : body;
}
