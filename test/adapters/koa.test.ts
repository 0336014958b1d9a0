/** What only Koa has: bodies in the context, parsers, routers. */
import { createReadStream, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Router } from "@koa/router";
import type { Context, Middleware } from "koa";
import bodyParser from "koa-bodyparser";
import { describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/koa.ts";
import type { IdempotencyState } from "../../src/adapters/koa.ts";
import { guardKoa, koas, listenKoa, openEngine } from "../support/koa-servers.ts";

const file = join(tmpdir(), `latchkey-koa-${process.pid}.txt`);
writeFileSync(file, "a file");

const endings: Readonly<Record<string, (ctx: Context) => unknown>> = {
  string: (ctx) => (ctx.body = "text"),
  html: (ctx) => (ctx.body = "<p>p</p>"),
  "an empty string": (ctx) => (ctx.body = ""),
  Buffer: (ctx) => (ctx.body = Buffer.from([0, 255, 10, 13])),
  object: (ctx) => (ctx.body = { a: "ü" }),
  "a number": (ctx) => (ctx.body = 0),
  "a status and a location": (ctx) => {
    ctx.status = 201;
    ctx.set("Location", "/charges/1");
    ctx.body = [1];
  },
  null: (ctx) => (ctx.body = null),
  "null with 200": (ctx) => {
    ctx.body = null;
    ctx.status = 200;
  },
  204: (ctx) => (ctx.status = 204),
  "a status alone": (ctx) => (ctx.status = 202),
  nothing: () => undefined,
  redirect: (ctx) => {
    ctx.status = 303;
    ctx.redirect("/elsewhere");
  },
  "two links": (ctx) => {
    ctx.append("Link", ["<a>", "<b>"]);
    ctx.body = "linked";
  },
  stream: (ctx) => (ctx.body = Readable.from(["one ", "two"])),
  "a stream of known length and type": (ctx) => {
    ctx.type = "text/x-known";
    ctx.length = 7;
    ctx.body = Readable.from([Buffer.from("one "), Buffer.from("two")]);
  },
  "a file": (ctx) => (ctx.body = createReadStream(file)),
  "res.end past Koa": (ctx) => {
    ctx.respond = false;
    ctx.res.writeHead(201, { "content-type": "a/b" }).end("raw");
  },
  "res.end and then Koa": (ctx) => void ctx.res.end("raw"),
  "a late end past Koa": (ctx) => {
    ctx.respond = false;
    setTimeout(() => ctx.res.end("late"), 5);
  },
  "ctx.throw": (ctx) => ctx.throw(422, "no such card"),
};

const web: Readonly<Record<string, (ctx: Context) => unknown>> = {
  Blob: (ctx) => (ctx.body = new Blob(["blob"], { type: "text/x-blob" })),
  ReadableStream: (ctx) => (ctx.body = new Blob(["a stream"]).stream()),
  Response: (ctx) => {
    ctx.body = new Response("a response", { status: 201, headers: { etag: '"1"' } });
  },
};

const cases = koas.flatMap(([version, framework]) =>
  Object.entries(version === "Koa 3" ? { ...endings, ...web } : endings).map(
    ([name, ending]) => [`${version}, ${name}`, { framework, ending }] as const,
  ),
);

describe("ways to respond on Koa", () => {
  it.each(cases)(
    "%s: first as without, then replayed (B-19, B-23, B-35, B-78)",
    async (_, { framework, ending }) => {
      let runs = 0;
      const handler: Middleware = (ctx) => {
        runs += 1;
        ending(ctx);
      };
      const post = await listenKoa(framework, {
        "/plain": [handler],
        "/guarded": [guardKoa(), handler],
      });
      const plain = await shownBy(await post("/plain"));
      const first = await shownBy(await post("/guarded"));
      expect(first).toEqual(plain);
      const retry = await post("/guarded");
      expect(retry.headers.get("idempotency-replayed")).toBe("true");
      const replay = await shownBy(retry);
      for (const name of ["status", "body", "content-type", "location", "link", "etag"]) {
        expect([name, replay[name]]).toEqual([name, plain[name]]);
      }
      expect(runs).toBe(2);
    },
  );
});

async function shownBy(response: Response): Promise<Record<string, unknown>> {
  const { date: _, ...headers } = Object.fromEntries(response.headers);
  const body = Buffer.from(await response.arrayBuffer()).toString("latin1");
  return { status: response.status, body, ...headers };
}

describe.each(koas)("requests on %s", (_name, framework) => {
  const json = { "content-type": "application/json" };
  const echo: Middleware = (ctx) => (ctx.body = ctx.request.body);

  it("are the same with a parser before or behind, and by value (B-22, B-55, B-62)", async () => {
    const chains = {
      "/before": [bodyParser(), guardKoa(), echo],
      "/behind": [guardKoa(), bodyParser(), echo],
    };
    const post = await listenKoa(framework, chains);
    for (const path of Object.keys(chains)) {
      const first = await post(path, { headers: json, body: '{"a":1,"b":[2]}' });
      expect(await first.json()).toEqual({ a: 1, b: [2] });
      const same = await post(path, { headers: json, body: '{ "b":[2],"a":1 }' });
      expect(same.headers.get("idempotency-replayed")).toBe("true");
      expect((await post(path, { headers: json, body: "{}" })).status).toBe(422);
      expect((await post(path, { headers: json })).status).toBe(422);
    }
  });

  it("are refused loudly when a parser has hidden their body (B-55)", async () => {
    const hiding: Middleware = async (ctx, next) => {
      await ctx.req.resume().toArray();
      await next();
    };
    const post = await listenKoa(framework, {
      "/r": [hiding, guardKoa(), (ctx) => (ctx.body = "done")],
    });
    expect((await post("/r", { body: "a" })).status).toBe(500);
    expect((await post("/r")).status).toBe(200);
  });
});

describe.each(koas)("routes on %s", (_name, framework) => {
  it("are told apart by their full pattern and path (B-58, B-59)", async () => {
    let runs = 0;
    const protect = idempotent(openEngine(), { scope: "public" });
    // As koa-mount and koa-router do it.
    const routed: Middleware = async (ctx, next) => {
      ctx.path = ctx.path.replace(/^\/\w+/, "");
      Object.assign(ctx, { _matchedRoute: "/:id/capture" });
      await next();
    };
    const handler: Middleware = (ctx) => (ctx.body = String((runs += 1)));
    const post = await listenKoa(framework, { "/": [routed, protect, handler] });
    expect(await (await post("/orders/1/capture")).text()).toBe("1");
    expect(await (await post("/refunds/1/capture")).text()).toBe("2");
    expect((await post("/orders/2/capture")).status).toBe(422);
    expect((await post("/orders/1/capture?a=1")).status).toBe(422);
    expect(await (await post("/orders/1/capture")).text()).toBe("1");
  });

  it.each(["on the routes", "on their router", "on the router around"])(
    "of @koa/router are told apart with the guard %s (B-58, B-59)",
    async (place) => {
      let runs = 0;
      const pay: Middleware = (ctx) => void (ctx.body = String((runs += 1)));
      const protect = idempotent(openEngine(), { scope: "public" });
      const own = place === "on the routes" ? [protect] : [];
      const orders = new Router({ prefix: "/:id" });
      if (place === "on their router") orders.use(protect);
      orders.post("/capture", ...own, pay).post("/refund", ...own, pay);
      const api = new Router({ prefix: "/api" });
      if (place === "on the router around") api.use(protect);
      api.use("/orders", orders.routes());
      const post = await listenKoa(framework, { "/": [api.routes() as Middleware] });
      const texts: string[] = [];
      const paths = ["1/capture", "1/refund", "1/capture", "1/refund"];
      for (const path of paths) texts.push(await (await post(`/api/orders/${path}`)).text());
      expect(texts).toEqual(["1", "2", "1", "2"]);
      expect((await post("/api/orders/2/capture")).status).toBe(422);
    },
  );
});

describe.each(koas)("handlers on %s", (_name, framework) => {
  it("find their claim in ctx.state, and overrule by it (B-21, B-74)", async () => {
    let runs = 0;
    const handler: Middleware<IdempotencyState> = (ctx) => {
      runs += 1;
      const { idempotency } = ctx.state;
      if (runs === 1) idempotency?.skip();
      ctx.body = `${idempotency?.key} ${idempotency?.attempt}`;
    };
    const post = await listenKoa(framework, { "/r": [guardKoa(), handler] });
    const bodies: string[] = [];
    for (let index = 0; index < 3; index += 1) bodies.push(await (await post("/r")).text());
    expect(bodies).toEqual(["k 1", "k 2", "k 2"]);
  });
});

describe("the koa adapter", () => {
  it("refuses to be built without a scope (B-101)", () => {
    expect(() => idempotent(openEngine(), {} as never)).toThrow(TypeError);
  });
});
