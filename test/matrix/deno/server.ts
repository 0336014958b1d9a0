/** The battery on Deno.serve, which tells its port by itself. */
import process from "node:process";
import { createBattery } from "../support/battery.ts";
import { openStore } from "../support/open-store.ts";

declare const Deno: {
  serve(
    options: { readonly port: number; readonly hostname: string },
    handler: (request: Request, info: object) => Promise<Response>,
  ): object;
  upgradeWebSocket(request: Request): { readonly socket: WebSocket; readonly response: Response };
};

const store = await openStore(process.env);
const battery = createBattery<[info: object]>({
  store: () => store,
  upgrade: (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.addEventListener("message", ({ data }: MessageEvent<string>) => socket.send(data));
    return response;
  },
});
Deno.serve({ port: 0, hostname: "127.0.0.1" }, battery);
