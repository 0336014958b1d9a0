/** The battery on Bun.serve. */
import { createBattery } from "../support/battery.ts";
import { openStore } from "../support/open-store.ts";

const store = await openStore(process.env);
const battery = createBattery<[server: Bun.Server], Response | undefined>({
  store: () => store,
  upgrade: (request, server) => {
    return server.upgrade(request) ? undefined : new Response("no upgrade", { status: 426 });
  },
});
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  development: false,
  fetch: battery,
  websocket: { message: (socket, message) => socket.send(message) },
});
process.stdout.write(`listening on ${server.url}\n`);
