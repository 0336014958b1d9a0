/** The battery on Bun.serve. */
import { createBattery } from "../support/battery.ts";
import { openStore } from "../support/open-store.ts";

declare const Bun: {
  serve(options: {
    readonly port: number;
    readonly hostname: string;
    readonly development: boolean;
    readonly fetch: (request: Request, server: object) => Promise<Response>;
  }): { readonly url: URL };
};

const store = await openStore(process.env);
const battery = createBattery<[server: object]>(() => store);
const server = Bun.serve({ port: 0, hostname: "127.0.0.1", development: false, fetch: battery });
process.stdout.write(`listening on ${server.url}\n`);
