/**
 * The little that examples and matrix tests name of other runtimes, so that they compile where
 * those are not installed. The matrix tests check the examples against the runtimes' own types.
 */
declare namespace Bun {
  interface BunRequest<Path extends string = string> extends Request {
    readonly params: Path extends `${string}:id${string}` ? { readonly id: string } : object;
  }
  interface Server {
    readonly url: URL;
    upgrade(request: Request): boolean;
  }
  type Handler<Req extends Request> = (
    request: Req,
    server: Server,
  ) => Promise<Response | undefined>;
  function serve<Path extends string = string>(options: {
    readonly port: number | string;
    readonly hostname?: string;
    readonly development?: boolean;
    readonly fetch?: Handler<Request>;
    readonly routes?: Readonly<Record<Path, { readonly POST: Handler<BunRequest<Path>> }>>;
    readonly websocket?: {
      readonly message: (socket: { send(message: string): void }, message: string) => void;
    };
  }): Server;
}

declare namespace Deno {
  interface ServeHandlerInfo {
    readonly remoteAddr: { readonly transport: string };
  }
  const args: readonly string[];
  function serve(
    options: { readonly port: number; readonly hostname: string },
    handler: (request: Request, info: ServeHandlerInfo) => Promise<Response>,
  ): object;
  function upgradeWebSocket(request: Request): {
    readonly socket: WebSocket;
    readonly response: Response;
  };
}

declare module "next/server" {
  export interface NextRequest extends Request {
    readonly nextUrl: URL;
  }
  export function after(work: Promise<unknown> | (() => unknown)): void;
}

declare module "next/navigation" {
  export function redirect(url: string): never;
  export function notFound(): never;
}

declare module "@prisma/adapter-pg" {
  export const PrismaPg: new (options: { readonly connectionString: string }) => object;
}

declare module "*/generated/prisma/client.ts" {
  export namespace Prisma {
    interface TransactionClient {
      readonly order: {
        create(args: {
          readonly data: { readonly id: string; readonly amount: number };
        }): Promise<object>;
      };
      $queryRawUnsafe<T = unknown>(query: string, ...values: unknown[]): Promise<T>;
    }
  }
  export class PrismaClient {
    constructor(options: { readonly adapter: object });
    $transaction<T>(
      work: (tx: Prisma.TransactionClient) => Promise<T>,
      options?: { readonly timeout?: number },
    ): Promise<T>;
  }
}
