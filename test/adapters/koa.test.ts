/** What only Koa has: bodies in the context, layers outside, its error handling. */
import { once } from "node:events";
import { writeFileSync, createReadStream } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import Koa from "koa";
import type { Context, Middleware } from "koa";
import Koa2 from "koa2";
import { afterEach, describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/koa.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";

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
