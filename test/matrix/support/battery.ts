/**
 * The app that every runtime runs: protected and plain handlers of one kind each, and what a test
 * needs to steer them (gates to open, runs to count) over HTTP alone. Knows no runtime.
 */
import { createEngine } from "latchkey";
import type { Store } from "latchkey";
import { idempotencyOf, idempotent } from "latchkey/fetch";

type Handler = (request: Request, visit: Visit) => Response | Promise<Response>;

/** What one request to a handler is about: its test's own counter and gate. */
interface Visit {
  /** Which run of this test it is, from 1. */
  readonly run: number;
  readonly isOpen: () => boolean;
  /** Resolves when the test opens its gate. */
  readonly opened: () => Promise<void>;
}

// Beside the module, since a bundler may make several of it: one for each route.
interface Kept {
  readonly runs: Map<string, number>;
  readonly open: Set<string>;
  engine?: ReturnType<typeof createEngine>;
}
const all = globalThis as { battery?: Kept };
const kept: Kept = (all.battery ??= { runs: new Map(), open: new Set() });

const encoder = new TextEncoder();
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A body whose last part comes when the gate opens. */
function parts(first: string, last: string, { opened }: Visit): ReadableStream<Uint8Array> {
  let sent = false;
  return new ReadableStream({
    pull: async (controller) => {
      if (!sent) {
        sent = true;
        return controller.enqueue(encoder.encode(first));
      }
      await opened();
      controller.enqueue(encoder.encode(last));
      return controller.close();
    },
  });
}

/** An event, then signs of life until the gate opens: Workers notice by them who has left. */
function events({ isOpen }: Visit): ReadableStream<Uint8Array> {
  let sent = 0;
  return new ReadableStream({
    pull: async (controller) => {
      if (isOpen()) return controller.close();
      if ((sent += 1) > 1) await pause(20);
      return controller.enqueue(encoder.encode(sent === 1 ? "data: 1\n\n" : ": alive\n\n"));
    },
  });
}

/** Ten digits, one by one: whoever stops listening is noticed on the way. */
function trickle(): ReadableStream<Uint8Array> {
  let sent = 0;
  return new ReadableStream({
    pull: async (controller) => {
      if (sent === 10) return controller.close();
      await pause(30);
      controller.enqueue(encoder.encode(String(sent)));
      sent += 1;
      return undefined;
    },
  });
}

const handlers: Readonly<Record<string, Handler>> = {
  binary: () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    const response = new Response(bytes, { status: 201, statusText: "Made" });
    const headers = { "content-type": "application/x-all", location: "/orders/1", "x-own": "1" };
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    for (const name of ["link", "set-cookie"]) {
      for (const value of ["<a>=1", "<b>=2"]) response.headers.append(name, value);
    }
    return response;
  },
  json: (_request, { run }) => Response.json({ run }, { status: 202 }),
  text: () => new Response("text"),
  form: () => new Response(new URLSearchParams({ a: "1 2" })),
  blob: () => new Response(new Blob(["blob"], { type: "text/x-blob" })),
  empty: () => new Response(""),
  nothing: () => new Response(null, { status: 204 }),
  redirect: () => Response.redirect("http://127.0.0.1/elsewhere", 303),
  missing: () => Response.json({ error: "no such order" }, { status: 404 }),
  echo: async (request) => {
    const { key, attempt } = idempotencyOf(request) ?? {};
    return new Response(`${key} ${attempt} ${await request.text()}`);
  },
  gate: async (_request, { opened, run }) => {
    await opened();
    return new Response(`run ${run}`);
  },
  stream: (_request, visit) => new Response(parts("early ", "late", visit)),
  trickle: () => new Response(trickle()),
  large: () => new Response(new Uint8Array(2_000_000)),
  events: (_request, visit) => {
    const headers = { "content-type": "text/event-stream" };
    return new Response(events(visit), { headers });
  },
  throws: (_request, { run }) => {
    if (run === 1) throw new Error("the first run throws");
    return new Response("paid");
  },
};

/** What the app needs of its platform. */
export interface Platform<Rest extends readonly unknown[], Res extends Response | undefined> {
  readonly store: () => Store;
  /** Turns a request into a socket that echoes, in the platform's way. */
  readonly upgrade?: (request: Request, ...rest: Rest) => Res;
}

/** The app on a platform; whatever that passes beside the request is passed on. */
export function createBattery<
  Rest extends readonly unknown[],
  Res extends Response | undefined = Response,
>({
  store,
  upgrade,
}: Platform<Rest, Res>): (request: Request, ...rest: Rest) => Promise<Res | Response> {
  const engine = (kept.engine ??= createEngine({ store: store() }));
  const socket = upgrade && idempotent(engine, upgrade, { methods: ["GET"], scope: "public" });
  const protectedBy = (options: { readonly onConflict?: { readonly wait: string } }) =>
    idempotent(engine, (request: Request, ..._rest: Rest) => handle(request), {
      scope: (request, ..._rest) => request.headers.get("x-test"),
      ...options,
    });
  const refusing = protectedBy({});
  const waiting = protectedBy({ onConflict: { wait: "10s" } });
  return async (request, ...rest) => {
    const verb = new URL(request.url).pathname.split("/").at(-2);
    if (verb === "socket" && socket) return socket(request, ...rest);
    if (verb === "plain") return handle(request);
    if (verb === "waiting") return waiting(request, ...rest);
    return verb === "once" ? refusing(request, ...rest) : steer(request);
  };
}

function handle(request: Request): Response | Promise<Response> {
  const test = request.headers.get("x-test") ?? "";
  const run = (kept.runs.get(test) ?? 0) + 1;
  kept.runs.set(test, run);
  const isOpen = () => kept.open.has(test);
  const opened = async () => {
    while (!isOpen()) await pause(5);
  };
  const kind = new URL(request.url).pathname.split("/").at(-1) ?? "";
  return (
    handlers[kind]?.(request, { run, isOpen, opened }) ??
    new Response("no handler", { status: 500 })
  );
}

/** Opens the gate of a test, and tells how often its handler ran. */
function steer(request: Request): Response {
  const test = request.headers.get("x-test") ?? "";
  if (request.url.endsWith("/open")) kept.open.add(test);
  return Response.json({ runs: kept.runs.get(test) ?? 0 });
}
