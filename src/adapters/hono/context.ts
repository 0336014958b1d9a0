/** The shape of a Hono context, as far as the adapter needs it. */

/** What this adapter needs of a Hono context. */
export interface HonoContext {
  readonly req: {
    readonly raw: Request;
    readonly method: string;
    readonly url: string;
    readonly routeIndex: number;
    readonly matchedRoutes: readonly { readonly method: string; readonly path: string }[];
    readonly bodyCache: object;
    readonly arrayBuffer: () => Promise<ArrayBuffer>;
  };
  readonly finalized: boolean;
  res: Response;
}
