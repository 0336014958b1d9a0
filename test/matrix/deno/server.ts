/** The battery on Deno.serve, which tells its port by itself. */
import process from "node:process";
import { createBattery } from "../support/battery.ts";
import { openStore } from "../support/open-store.ts";

const store = await openStore(process.env);
const battery = createBattery<[info: Deno.ServeHandlerInfo]>({
  store: () => store,
  upgrade: (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.addEventListener("message", ({ data }: MessageEvent<string>) => socket.send(data));
    return response;
  },
});
Deno.serve({ port: 0, hostname: "127.0.0.1" }, battery);
