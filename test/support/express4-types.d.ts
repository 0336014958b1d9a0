/** Express 4 under its alias; it has the types of Express 5 as far as the tests go. */
declare module "express4" {
  import express from "express";
  export default express;
}
