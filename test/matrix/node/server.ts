/** The battery on Node, by the server that Hono brings for fetch handlers. */
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { memoryStore } from "latchkey/memory";
import { createBattery } from "../support/battery.ts";

const battery = createBattery({ store: () => memoryStore() });
const options = { fetch: (request: Request) => battery(request), port: 0, hostname: "127.0.0.1" };
serve(options, ({ port }: AddressInfo) => {
  process.stdout.write(`listening on 127.0.0.1:${port}\n`);
});
