// What the tests use of multer, which has no types of its own.
declare module "multer" {
  import type { RequestHandler } from "express";
  interface Multer {
    none(): RequestHandler;
    single(name: string): RequestHandler;
    any(): RequestHandler;
  }
  const multer: () => Multer;
  export default multer;
}
