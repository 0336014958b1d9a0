/** The battery on Deno.serve. */
import process from "node:process";
import { createBattery } from "../support/battery.ts";
import { openStore } from "../support/open-store.ts";

declare const Deno: {
  serve(
    options: { readonly port: number; readonly hostname: string },
    handler: (request: Request, info: object) => Promise<Response>,
  ): object;
};

const store = await openStore(process.env);
// Tells its port by itself.
Deno.serve({ port: 0, hostname: "127.0.0.1" }, createBattery<[info: object]>(() => store));
