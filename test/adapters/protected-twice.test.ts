/**
 * A layer that stands twice on the way of a request, as after moving it from the application to its
 * routes: said in words, instead of every request being its own duplicate.
 */
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import express from "express";
import { Hono } from "hono";
import Koa from "koa";
import { expect, it, vi } from "vitest";
import { idempotent as onExpress } from "../../src/adapters/express.ts";
import { idempotent as onFetch } from "../../src/adapters/fetch.ts";
import { idempotent as onHono } from "../../src/adapters/hono.ts";
import { idempotent as onKoa } from "../../src/adapters/koa.ts";
import { idempotent as onNode } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Fingerprint } from "../../src/machine/record.ts";
import { memoryStore } from "../../src/stores/memory.ts";

const post = { method: "POST", headers: { "idempotency-key": "k" } };
const options = { scope: "public" } as const;

interface Served {
  readonly ask: () => Promise<number>;
  readonly close: () => void;
}

type Listener = (...request: Parameters<RequestListener>) => unknown;

async function served(listener: Listener): Promise<Served> {
  const server = createServer((req, res) => void listener(req, res)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const ask = async (): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}/pay`, post)).status;
  return { ask, close: () => server.close() };
}

/** What went wrong, as the framework was told, and how often the handler ran. */
interface Seen {
  readonly failed: (error: unknown) => void;
  readonly ran: () => void;
}
type Two = readonly [ReturnType<typeof createEngine>, ReturnType<typeof createEngine>];

const frameworks: Readonly<Record<string, (two: Two, seen: Seen) => Promise<Served>>> = {
  Express: ([outer, inner], { failed, ran }) => {
    const app = express();
    app.use(onExpress(outer, options));
    app.post("/pay", onExpress(inner, options), (_, res) => (ran(), res.json({})));
    const onError: express.ErrorRequestHandler = (error, _req, res, _next) => {
      failed(error);
      res.sendStatus(500);
    };
    return served(app.use(onError));
  },
  Koa: ([outer, inner], { failed, ran }) => {
    const app = new Koa().use(onKoa(outer, options)).use(onKoa(inner, options));
    app.on("error", failed);
    return served(
      app
        .use((ctx) => {
          ran();
          ctx.body = {};
        })
        .callback(),
    );
  },
  Hono: ([outer, inner], { failed, ran }) => {
    const app = new Hono().use(onHono(outer, options));
    app.post("/pay", onHono(inner, options), (c) => (ran(), c.json({})));
    app.onError((error, c) => (failed(error), c.text("failed", 500)));
    const ask = async (): Promise<number> => (await app.request("/pay", post)).status;
    return Promise.resolve({ ask, close: () => {} });
  },
  fetch: ([outer, inner], { failed, ran }) => {
    const handler = onFetch(inner, () => (ran(), new Response("")), options);
    const twice = onFetch(outer, handler, options);
    const ask = async (): Promise<number> => {
      try {
        return (await twice(new Request("http://here/pay", post))).status;
      } catch (error) {
        failed(error);
        return 500;
      }
    };
    return Promise.resolve({ ask, close: () => {} });
  },
};

const words = "The route POST /pay is protected twice";

it.each(Object.entries(frameworks))("%s: the same record twice is a mistake", async (_, serve) => {
  const engine = createEngine({ store: memoryStore() });
  const [failed, ran] = [vi.fn<Seen["failed"]>(), vi.fn<Seen["ran"]>()];
  const { ask, close } = await serve([engine, engine], { failed, ran });
  expect([await ask(), await ask()]).toEqual([500, 500]); // never recorded, never a 409
  expect(failed.mock.calls.map(([error]) => String(error))).toEqual([
    expect.stringContaining(words),
    expect.stringContaining(words),
  ]);
  expect(ran).not.toHaveBeenCalled();
  close();
});

it.each(Object.entries(frameworks))("%s: two stores may be asked", async (_, serve) => {
  const two = [createEngine({ store: memoryStore() }), createEngine({ store: memoryStore() })];
  const [failed, ran] = [vi.fn<Seen["failed"]>(), vi.fn<Seen["ran"]>()];
  const { ask, close } = await serve(two as unknown as Two, { failed, ran });
  expect([await ask(), await ask()]).toEqual([200, 200]);
  expect(failed).not.toHaveBeenCalled();
  expect(ran).toHaveBeenCalledTimes(1);
  close();
});

it.each(Object.entries(frameworks))(
  "%s: a refusal of the inner layer is no outcome of the outer one (B-45)",
  async (_, serve) => {
    const two = [createEngine({ store: memoryStore() }), createEngine({ store: memoryStore() })];
    const [failed, ran] = [vi.fn<Seen["failed"]>(), vi.fn<Seen["ran"]>()];
    const intent = { operation: "POST /pay", scope: "public", key: "k" };
    const elsewhere = { ...intent, fingerprint: "another" as Fingerprint };
    const held = await two[1]?.begin(elsewhere);
    if (held?.kind !== "execute") throw new Error("The key should have been free.");
    const { ask, close } = await serve(two as unknown as Two, { failed, ran });
    expect(await ask()).toBe(422); // another body is at work on the inner store
    expect((await two[0]?.find(intent))?.record.state).toBe("released");
    await held.claim.release();
    expect(ran).not.toHaveBeenCalled();
    close();
  },
);

it("node:http: the same record twice is a mistake, and says so in a warning", async () => {
  const engine = createEngine({ store: memoryStore() });
  const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  const ran = vi.fn<Seen["ran"]>();
  const inner = onNode(engine, options, (_req, res) => (ran(), res.end()));
  const { ask, close } = await served((req, res) => void onNode(engine, options, inner)(req, res));
  expect([await ask(), await ask()]).toEqual([500, 500]);
  expect(String(warn.mock.calls[0]?.[0])).toContain(words);
  expect(ran).not.toHaveBeenCalled();
  warn.mockRestore();
  close();
});
