/** The battery as a Worker, and a route whose result is recorded after its answer has left. */
import { createEngine } from "latchkey";
import type { Store } from "latchkey";
import { idempotent } from "latchkey/fetch";
import { memoryStore } from "latchkey/memory";
import { createBattery } from "../support/battery.ts";

interface Context {
  waitUntil(work: Promise<unknown>): void;
}
type Rest = [env: object, ctx: Context];

interface EchoSocket extends WebSocket {
  accept(): void;
}
declare const WebSocketPair: new () => { readonly 0: WebSocket; readonly 1: EchoSocket };

const battery = createBattery<Rest>({
  store: () => memoryStore(),
  upgrade: () => {
    const { 0: webSocket, 1: socket } = new WebSocketPair();
    socket.accept();
    socket.addEventListener("message", ({ data }: MessageEvent<string>) => socket.send(data));
    return new Response(null, { status: 101, webSocket } as ResponseInit);
  },
});

/** A store that fails the first recording of each result. */
function failingOnce(store: Store): Store {
  const failed = new Set<string>();
  return {
    ...store,
    complete: (id, completion) => {
      if (failed.has(id)) return store.complete(id, completion);
      failed.add(id);
      return Promise.reject(new Error("the connection was reset"));
    },
  };
}

const engine = createEngine({ store: failingOnce(memoryStore()) });
let runs = 0;
const late = idempotent(
  engine,
  (_request: Request, ..._rest: Rest) => new Response(`run ${(runs += 1)}`),
  { scope: "public" },
);

export default {
  fetch: (request: Request, ...rest: Rest): Promise<Response> =>
    request.url.endsWith("/late") ? late(request, ...rest) : battery(request, ...rest),
};
