/** Koa 2 under its alias; it has the types of Koa 3 as far as the tests go. */
declare module "koa2" {
  import Koa from "koa";
  export default Koa;
}
