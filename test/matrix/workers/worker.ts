/** The battery as a Worker, and routes for what only Workers do. */
import { gzipSync } from "node:zlib";
import { Hono } from "hono";
import { createEngine } from "latchkey";
import type { Store } from "latchkey";
import { idempotent } from "latchkey/fetch";
import { idempotent as protect } from "latchkey/hono";
import { memoryStore } from "latchkey/memory";
import { createBattery } from "../support/battery.ts";

interface Context {
  waitUntil(work: Promise<unknown>): void;
  passThroughOnException(): void;
  readonly props: object;
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

const app = new Hono();
app.post("/hono", protect(engine, { scope: "public" }), (c) =>
  c.text(`run ${c.get("idempotency")?.attempt}`),
);

/** A compressed answer: by the handler, or by the platform on its way out. */
const encoded = idempotent(
  createEngine({ store: memoryStore() }),
  (request: Request, ..._rest: Rest) => {
    const isManual = request.url.endsWith("manual");
    const text = "text ".repeat(100);
    return new Response(isManual ? new Uint8Array(gzipSync(text)) : text, {
      headers: { "content-encoding": "gzip" },
      ...(isManual ? { encodeBody: "manual" } : {}),
    });
  },
  { scope: "public" },
);

export default {
  fetch: (request: Request, ...rest: Rest): Promise<Response> => {
    const path = new URL(request.url).pathname;
    if (path === "/late") return late(request, ...rest);
    if (path === "/hono") return Promise.resolve(app.fetch(request, ...rest));
    return path === "/encoded" ? encoded(request, ...rest) : battery(request, ...rest);
  },
};
