/** The operation of a Koa request, by what its router and koa-mount have left in the context. */

interface Routed {
  readonly method: string;
  readonly path: string;
  readonly originalUrl: string;
}

/** What @koa/router and koa-router leave there; neither types it. */
interface Matched {
  /** The layer that runs: a route, or what `router.use()` put before many. */
  readonly _matchedRoute?: Pattern;
  readonly matched?: readonly { readonly path: Pattern; readonly methods: readonly string[] }[];
}
type Pattern = string | RegExp;

/** Method and pattern; without a router, the path. */
export function operationOf(ctx: Routed): string {
  const route = routeOf(ctx);
  const [pathname = ""] = ctx.originalUrl.split("?");
  const pattern = route === undefined ? pathname : prefixOf(pathname, ctx.path) + String(route);
  return `${ctx.method} ${pattern}`;
}

/** The pattern of the route, also where the guard stands before many (B-59). */
function routeOf(ctx: Routed): Pattern | undefined {
  const { _matchedRoute: current, matched = [] } = ctx as Matched;
  const routes = matched.filter(({ methods }) => methods.includes(ctx.method));
  const isRoute = routes.some(({ path }) => path === current);
  return isRoute ? current : (routes.at(-1)?.path ?? current);
}

/** What koa-mount took off the path, which the router's pattern does not show (B-59). */
function prefixOf(pathname: string, path: string): string {
  if (pathname.endsWith(path)) return pathname.slice(0, pathname.length - path.length);
  return path === "/" ? pathname : "";
}
