/** What only Koa has: bodies in the context, layers outside, its error handling. */
import { once } from "node:events";
import { writeFileSync, createReadStream } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { createGzip, gzipSync } from "node:zlib";
import Koa from "koa";
import type { Context, Middleware } from "koa";
import Koa2 from "koa2";
import { afterEach, describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/koa.ts";
import type { IdempotencyState } from "../../src/adapters/koa.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { until } from "../support/poll.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

const frameworks: readonly (readonly [string, typeof Koa])[] = [
  ["Koa 2", Koa2],
  ["Koa 3", Koa],
];

/** Serves each middleware chain at its path. */
async function listen(framework: typeof Koa, chains: Readonly<Record<string, Middleware[]>>) {
  const routes = Object.entries(chains).map(([path, chain]) => {
    const app = new framework();
    app.silent = true;
    for (const middleware of chain) app.use(middleware);
    return [path, app.callback()] as const;
  });
  const server = createServer((req, res) => {
    const found = routes.find(([path]) => (req.url ?? "").startsWith(path));
    void found?.[1](req, res);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close() && server.closeAllConnections());
  const { port } = server.address() as AddressInfo;
  return (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method: "POST",
      redirect: "manual",
      ...init,
      headers: { "idempotency-key": "k", ...init.headers },
    });
}

const open = () => createEngine({ store: memoryStore() });
const guard = () => idempotent(open(), { scope: "public" });
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

const cases = frameworks.flatMap(([version, framework]) =>
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
      const post = await listen(framework, { "/plain": [handler], "/guarded": [guard(), handler] });
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

describe.each(frameworks)("layers outside on %s", (_name, framework) => {
  it("treat a replay as they treat the first response (B-31, B-32)", async () => {
    const outside: Middleware = async (ctx, next) => {
      ctx.set("access-control-allow-origin", ctx.get("origin"));
      await next();
      ctx.body = { wrapped: String(ctx.body), origin: ctx.get("origin") };
    };
    const post = await listen(framework, {
      "/r": [outside, guard(), (ctx) => (ctx.body = "inner")],
    });
    const asked = (origin: string) => post("/r", { headers: { origin } });
    expect(await (await asked("https://a")).json()).toEqual({
      wrapped: "inner",
      origin: "https://a",
    });
    const replay = await asked("https://b");
    expect(replay.headers.get("access-control-allow-origin")).toBe("https://b");
    expect(replay.headers.get("access-control-expose-headers")).toContain("idempotency-replayed");
    expect(await replay.json()).toEqual({ wrapped: "inner", origin: "https://b" });
  });

  it.each(["string", "stream"])("compress a %s that is recorded as it was (B-32)", async (kind) => {
    const compressing: Middleware = async (ctx, next) => {
      await next();
      if (ctx.get("accept-encoding") !== "gzip") return;
      const { body } = ctx;
      ctx.set("content-encoding", "gzip");
      if (typeof body === "string" || Buffer.isBuffer(body)) ctx.body = gzipSync(body);
      else ctx.body = (body as Readable).pipe(createGzip());
    };
    const handler: Middleware = (ctx) => {
      ctx.type = "text/plain";
      ctx.body = kind === "string" ? "plain text" : Readable.from(["plain ", "text"]);
    };
    const post = await listen(framework, { "/r": [compressing, guard(), handler] });
    const first = await post("/r", { headers: { "accept-encoding": "gzip" } });
    expect(first.headers.get("content-encoding")).toBe("gzip");
    expect(await first.text()).toBe("plain text");
    const retry = await post("/r", { headers: { "accept-encoding": "identity" } });
    expect(retry.headers.get("content-encoding")).toBeNull();
    expect(await retry.text()).toBe("plain text");
  });

  it("that catch errors decide by the status they answer (B-68, B-69, B-72)", async () => {
    let runs = 0;
    const catching: Middleware = async (ctx, next) => {
      await next().catch((error: Error) => {
        ctx.status = Number(error.message);
        ctx.body = { failed: runs };
      });
    };
    const handler: Middleware = () => {
      runs += 1;
      throw new Error(["", "500", "429", "402"][runs]);
    };
    const post = await listen(framework, { "/r": [catching, guard(), handler] });
    const statuses: number[] = [];
    for (let index = 0; index < 4; index += 1) statuses.push((await post("/r")).status);
    expect(statuses).toEqual([500, 429, 402, 402]);
    expect(await (await post("/r")).json()).toEqual({ failed: 3 });
    expect(runs).toBe(3);
  });

  it("that time out leave the handler its key (B-79)", async () => {
    const gate = Promise.withResolvers<void>();
    const timeout: Middleware = async (ctx, next) => {
      const late = new Promise((resolve) => setTimeout(resolve, 30)).then(() => ctx.throw(504));
      await Promise.race([next(), late]);
    };
    const handler: Middleware = async (ctx) => {
      await gate.promise;
      ctx.status = 201;
      ctx.body = { paid: true };
    };
    const post = await listen(framework, { "/r": [timeout, guard(), handler] });
    expect((await post("/r")).status).toBe(504);
    expect((await post("/r")).status).toBe(409);
    gate.resolve();
    const retry = await until(async () => {
      const response = await post("/r");
      return response.status === 409 ? undefined : response;
    });
    expect([retry.status, await retry.json()]).toEqual([201, { paid: true }]);
  });
});

describe.each(frameworks)("streamed bodies on %s", (_name, framework) => {
  it("are recorded when their client goes away, before or amid them (B-76)", async () => {
    let runs = 0;
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    const handler: Middleware = async (ctx) => {
      runs += 1;
      const amid = ctx.get("x-amid") !== "";
      if (!amid) await gates[0].promise;
      const parts = async function* parts() {
        yield "x".repeat(100_000);
        if (amid) await gates[1].promise;
        yield "y".repeat(100_000);
      };
      ctx.body = Readable.from(parts());
    };
    const post = await listen(framework, { "/r": [guard(), handler] });
    const abort = new AbortController();
    const { signal } = abort;
    const headers = [{ "idempotency-key": "before" }, { "idempotency-key": "amid", "x-amid": "1" }];
    const gone = headers.map(async (given) =>
      (await post("/r", { headers: given, signal })).text(),
    );
    await until(() => runs === 2 || undefined);
    await post("/r", { headers: headers[1] ?? {} }); // the first bytes are under way by now
    abort.abort();
    await Promise.allSettled(gone);
    for (const gate of gates) gate.resolve();
    for (const given of headers) {
      const response = await until(async () => {
        const answer = await post("/r", { headers: given });
        return answer.status === 200 ? answer : undefined;
      });
      expect((await response.text()).length).toBe(200_000);
    }
    expect(runs).toBe(2);
  });

  it("that break leave the key free (B-111)", async () => {
    let runs = 0;
    const handler: Middleware = (ctx) => {
      runs += 1;
      const parts = async function* parts() {
        yield "half";
        if (runs === 1) throw new Error("cut");
      };
      ctx.body = Readable.from(parts());
    };
    const post = await listen(framework, { "/r": [guard(), handler] });
    const abort = new AbortController();
    const first = post("/r", { signal: abort.signal }).then((response) => response.text());
    const retry = await until(async () => {
      const response = await post("/r");
      return response.status === 409 ? undefined : response;
    });
    expect(await retry.text()).toBe("half");
    abort.abort(); // Koa 2 leaves a broken response open
    await expect(first).rejects.toThrow();
    expect(runs).toBe(2);
  });

  it("of events pass at once and are omitted (B-110)", async () => {
    const events = new PassThrough();
    const handler: Middleware = (ctx) => {
      ctx.type = "text/event-stream";
      ctx.body = events;
    };
    const post = await listen(framework, { "/r": [guard(), handler] });
    events.write("data: 1\n\n");
    const first = await post("/r");
    const reader = first.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("data: 1\n\n");
    expect((await (await post("/r")).json()).code).toBe("in-progress");
    await reader?.cancel();
    const code = async () => (await (await post("/r")).json()).code as string;
    await until(async () => ((await code()) === "result-omitted" ? true : undefined));
  });

  it("that are too large are omitted, like other bodies (B-107)", async () => {
    let runs = 0;
    const handler: Middleware = (ctx) => {
      runs += 1;
      const bytes = Buffer.alloc(2_000_000);
      ctx.body = ctx.get("x-stream") === "" ? bytes : Readable.from([bytes, bytes]);
    };
    const post = await listen(framework, { "/r": [guard(), handler] });
    for (const headers of [{}, { "idempotency-key": "s", "x-stream": "1" }]) {
      const length = (await (await post("/r", { headers })).arrayBuffer()).byteLength;
      expect(length).toBeGreaterThanOrEqual(2_000_000);
      expect((await (await post("/r", { headers })).json()).code).toBe("result-omitted");
    }
    expect(runs).toBe(2);
  });
});

describe.each(frameworks)("requests on %s", (_name, framework) => {
  const json = { "content-type": "application/json" };
  // As koa-bodyparser and its like do it.
  const parser: Middleware = async (ctx, next) => {
    const text = Buffer.concat((await ctx.req.toArray()) as Buffer[]).toString();
    Object.assign(ctx.request, { body: text === "" ? {} : (JSON.parse(text) as unknown) });
    await next();
  };
  const echo: Middleware = (ctx) => (ctx.body = Reflect.get(ctx.request, "body") as unknown);

  it("are the same with a parser before or behind, and by value (B-22, B-55, B-62)", async () => {
    const chains = { "/before": [parser, guard(), echo], "/behind": [guard(), parser, echo] };
    const post = await listen(framework, chains);
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
    const post = await listen(framework, { "/r": [hiding, guard(), (ctx) => (ctx.body = "done")] });
    expect((await post("/r", { body: "a" })).status).toBe(500);
    expect((await post("/r")).status).toBe(200);
  });

  it("of routers are told apart by their full pattern and path (B-58, B-59)", async () => {
    let runs = 0;
    const protect = idempotent(open(), { scope: "public" });
    // As koa-mount and koa-router do it.
    const routed: Middleware = async (ctx, next) => {
      ctx.path = ctx.path.replace(/^\/\w+/, "");
      Object.assign(ctx, { _matchedRoute: "/:id/capture" });
      await next();
    };
    const handler: Middleware = (ctx) => (ctx.body = String((runs += 1)));
    const post = await listen(framework, { "/": [routed, protect, handler] });
    expect(await (await post("/orders/1/capture")).text()).toBe("1");
    expect(await (await post("/refunds/1/capture")).text()).toBe("2");
    expect((await post("/orders/2/capture")).status).toBe(422);
    expect((await post("/orders/1/capture?a=1")).status).toBe(422);
    expect(await (await post("/orders/1/capture")).text()).toBe("1");
  });

  it("find their claim in ctx.state, and overrule by it (B-21, B-74)", async () => {
    let runs = 0;
    const handler: Middleware<IdempotencyState> = (ctx) => {
      runs += 1;
      const { idempotency } = ctx.state;
      if (runs === 1) idempotency?.skip();
      ctx.body = `${idempotency?.key} ${idempotency?.attempt}`;
    };
    const post = await listen(framework, { "/r": [guard(), handler] });
    const bodies: string[] = [];
    for (let index = 0; index < 3; index += 1) bodies.push(await (await post("/r")).text());
    expect(bodies).toEqual(["k 1", "k 2", "k 2"]);
  });
});

describe("the koa adapter", () => {
  it("refuses to be built without a scope (B-101)", () => {
    expect(() => idempotent(open(), {} as never)).toThrow(TypeError);
  });
});
