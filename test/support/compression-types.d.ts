// What the tests use of compression, which has no types of its own.
declare module "compression" {
  import type { RequestHandler } from "express";
  const compression: (options?: { threshold?: number }) => RequestHandler;
  export default compression;
}
declare namespace Express {
  interface Response {
    /** Sends what the compression has gathered. */
    flush(): void;
  }
}
