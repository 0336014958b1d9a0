/**
 * A Hono request as `admit` sees it: its route's pattern, and its body from the request or from
 * what Hono has kept of it.
 */
import type { Content } from "../../engine/values/fingerprint.ts";
import type { Exchange } from "../../http/admit.ts";
import { keyFor, scopeFor } from "../../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../../http/policy.ts";
import { contentOfBytes } from "../../http/target.ts";
import { peekBody } from "../fetch/exchange.ts";
import type { HonoContext } from "./context.ts";

/** The exchange of a request on Hono, for `admit`. */
export function exchangeOf<C extends HonoContext>(
  c: C,
  options: HttpOptions<C>,
  policy: HttpPolicy,
): Exchange {
  const { raw, method } = c.req;
  const { pathname, search } = new URL(c.req.url);
  return {
    method,
    target: pathname + search,
    operation: options.operation ?? `${method} ${patternOf(c) ?? pathname}`,
    // Headers joins several lines with a comma, which no key contains unquoted.
    header: (name) => [raw.headers.get(name)].filter((line) => line !== null),
    scope: () => scopeFor(options, c),
    key: keyFor(options, c),
    signal: policy.waitMs > 0 ? raw.signal : undefined,
    content: () => contentOf(c, policy),
  };
}

/** The pattern of the handler that will run, also where this middleware stands before many. */
function patternOf({ req }: HonoContext): string | undefined {
  const routes = req.matchedRoutes.slice(req.routeIndex);
  const handler =
    routes.find(({ method }) => method === req.method) ??
    routes.findLast(({ path }) => !path.endsWith("*")) ??
    routes[0];
  return handler?.path;
}

/** The content of a request, whoever has read it through Hono before. */
async function contentOf(
  { req }: HonoContext,
  policy: HttpPolicy,
): Promise<Content | "too-large" | "aborted"> {
  const body = await (req.raw.bodyUsed
    ? cachedBody(req, policy.maxRequestBytes)
    : peekBody(req.raw, policy.maxRequestBytes));
  if (body === "too-large" || body === "aborted") return body;
  return contentOfBytes(body, req.raw.headers.get("content-type") ?? "", policy.fingerprint);
}

// What was read past Hono's own methods is gone; form data alone is told apart by no bytes.
async function cachedBody(
  req: HonoContext["req"],
  limitBytes: number,
): Promise<Uint8Array | "too-large"> {
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
