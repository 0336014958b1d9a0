/**
 * The little that examples and matrix tests name of other runtimes, so that they compile where
 * those are not installed. Next.js' own types check the examples once more in `next build`.
 */
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
