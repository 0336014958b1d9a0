/** The operation of a Koa request, by what its router and koa-mount have left in the context. */

interface Routed {
  readonly method: string;
  readonly path: string;
  readonly originalUrl: string;
}

/** Method and pattern; without a router, the path. */
export function operationOf(ctx: Routed): string {
  const { _matchedRoute: route } = ctx as { _matchedRoute?: string | RegExp };
  const [pathname = ""] = ctx.originalUrl.split("?");
  const pattern = route === undefined ? pathname : prefixOf(pathname, ctx.path) + String(route);
  return `${ctx.method} ${pattern}`;
}

/** What koa-mount took off the path, which the router's pattern does not show (B-59). */
function prefixOf(pathname: string, path: string): string {
  if (pathname.endsWith(path)) return pathname.slice(0, pathname.length - path.length);
  return path === "/" ? pathname : "";
}
