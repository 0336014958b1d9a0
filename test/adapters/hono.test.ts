/** What only Hono has, on its Node server: ways to respond, errors, routing, the body cache. */
import { Hono } from "hono";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { stream, streamText } from "hono/streaming";
import { validator } from "hono/validator";
import { describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/hono.ts";
import { guardHono, listenHono, openEngine } from "../support/hono-server.ts";

const pause = () => new Promise((resolve) => setTimeout(resolve, 5));

const streamOf = (text: string) =>
  new ReadableStream({
    start: (to) => {
      to.enqueue(Buffer.from(text));
      to.close();
    },
  });

type Handler = (c: Context) => Response | Promise<Response>;
const endings: Readonly<Record<string, Handler>> = {
  text: (c) => c.text("text"),
  "json(0)": (c) => c.json(0),
  "json(null)": (c) => c.json(null),
  "json with a status and headers": (c) => c.json({ a: "ü" }, 201, { location: "/charges/1" }),
  html: (c) => c.html("<p>p</p>"),
  "body of bytes": (c) => c.body(Uint8Array.from([0, 255, 10, 13])),
  "body(null, 204)": (c) => c.body(null, 204),
  "body(null)": (c) => c.body(null),
  "an empty text": (c) => c.text(""),
  redirect: (c) => c.redirect("/elsewhere", 303),
  "two links": (c) => {
    c.header("link", "<a>", { append: true });
    c.header("link", "<b>", { append: true });
    return c.body(null, 201);
  },
  "a plain Response": () => new Response("plain"),
  "a Response of a Blob": () => new Response(new Blob(["blob"], { type: "text/x-blob" })),
  "a Response of a stream": () => new Response(streamOf("a stream")),
  "a Response that cannot be changed": () => Response.redirect("http://h/elsewhere", 307),
  stream: (c) =>
    stream(c, async (out) => {
      await out.write("one ");
      await pause();
      await out.write("two");
    }),
  streamText: (c) =>
    streamText(c, async (out) => {
      await out.writeln("one");
      await pause();
      await out.write("two");
    }),
  HTTPException: () => {
    throw new HTTPException(422, { message: "no such card" });
  },
  "HTTPException with a response": () => {
    throw new HTTPException(402, { res: new Response("declined", { headers: { etag: '"1"' } }) });
  },
  notFound: (c) => c.notFound(),
};

// Hono sends these as streams; known in whole, the layer sends them with their length.
const otherFraming = new Set(["HTTPException", "HTTPException with a response"]);

describe("ways to respond on Hono", () => {
  it.each(Object.entries(endings))(
    "%s: first as without, then replayed (B-19, B-23, B-35, B-78)",
    async (name, ending) => {
      let runs = 0;
      const handler: Handler = (c) => {
        runs += 1;
        return ending(c);
      };
      const app = new Hono().post("/plain", handler).post("/guarded", guardHono(), handler);
      const post = await listenHono(app);
      const seen = [await shownBy(await post("/plain")), await shownBy(await post("/guarded"))];
      if (otherFraming.has(name)) for (const shown of seen) withoutFraming(shown);
      const [plain = {}, first] = seen;
      expect(first).toEqual(plain);
      const retry = await post("/guarded");
      expect(retry.headers.get("idempotency-replayed")).toBe("true");
      const replay = await shownBy(retry);
      for (const name of ["status", "body", "content-type", "location", "link", "etag"]) {
        expect(replay[name]).toBe(plain[name]);
      }
      expect(runs).toBe(2);
    },
  );
});

type Shown = Record<string, unknown>;

async function shownBy(response: Response): Promise<Shown> {
  const { date: _, ...headers } = Object.fromEntries(response.headers);
  const body = Buffer.from(await response.arrayBuffer()).toString("latin1");
  return { status: response.status, body, ...headers };
}

function withoutFraming(shown: Shown): void {
  delete shown["content-length"];
  delete shown["transfer-encoding"];
}

describe("errors on Hono", () => {
  it("reach app.onError, whose status decides (B-68, B-69, B-71, B-72)", async () => {
    let runs = 0;
    const app = new Hono();
    app.onError((error, c) => c.text(error.message, Number(error.message) as 500));
    app.post("/r", guardHono(), () => {
      runs += 1;
      throw new Error(["", "500", "503", "429", "401", "404"][runs] ?? "200");
    });
    const post = await listenHono(app);
    const statuses: number[] = [];
    for (let index = 0; index < 6; index += 1) statuses.push((await post("/r")).status);
    expect(statuses).toEqual([500, 503, 429, 401, 404, 404]);
    expect(runs).toBe(5);
  });

  it("of a sub-app reach its own handler (B-68)", async () => {
    let runs = 0;
    const sub = new Hono().onError((error, c) => c.text(error.message, runs === 1 ? 500 : 402));
    sub.post("/r", guardHono(), () => {
      runs += 1;
      throw new Error(`failed ${runs}`);
    });
    const post = await listenHono(new Hono().route("/sub", sub));
    const bodies: string[] = [];
    for (let index = 0; index < 3; index += 1) bodies.push(await (await post("/sub/r")).text());
    expect(bodies).toEqual(["failed 1", "failed 2", "failed 2"]);
  });

  it("of a body that breaks off leave the key free (B-111)", async () => {
    let runs = 0;
    const app = new Hono().post("/r", guardHono(), () => {
      runs += 1;
      const broken = new ReadableStream({
        pull: (to) => (runs === 1 ? to.error(new Error("cut")) : to.close()),
        start: (to) => to.enqueue(Buffer.from("half")),
      });
      return new Response(broken);
    });
    const post = await listenHono(app);
    await expect(post("/r").then((response) => response.text())).rejects.toThrow();
    expect(await (await post("/r")).text()).toBe("half");
    expect(runs).toBe(2);
  });
});

describe("requests on Hono", () => {
  const json = { "content-type": "application/json" };

  it("are read by the handler as without, and compared by value (B-22, B-55, B-62)", async () => {
    const read: Readonly<Record<string, Handler>> = {
      json: async (c) => c.json(await c.req.json()),
      text: async (c) => c.text(await c.req.text()),
      bytes: async (c) => c.body(await c.req.arrayBuffer()),
      raw: async (c) => c.json(await c.req.raw.json()),
      parseBody: async (c) => c.json({ a: 1, parsed: await c.req.parseBody() }),
      none: (c) => c.json({ a: 1 }),
    };
    const app = new Hono();
    for (const [name, handler] of Object.entries(read)) app.post(`/${name}`, guardHono(), handler);
    const post = await listenHono(app);
    for (const name of Object.keys(read)) {
      const first = await post(`/${name}`, { headers: json, body: '{"a":1}' });
      expect(await first.json()).toMatchObject({ a: 1 });
      const same = await post(`/${name}`, { headers: json, body: '{ "a": 1 }' });
      expect(same.headers.get("idempotency-replayed")).toBe("true");
      expect((await post(`/${name}`, { headers: json, body: '{"a":2}' })).status).toBe(422);
    }
  });

  it("with forms and files reach the handler whole (B-22)", async () => {
    const app = new Hono().post("/r", guardHono(), async (c) => {
      const { name, file } = await c.req.parseBody();
      return c.text(`${name as string} ${await (file as File).text()}`);
    });
    const post = await listenHono(app);
    const body = new FormData();
    body.set("name", "n");
    body.set("file", new File(["in the file"], "f.txt"));
    expect(await (await post("/r", { body })).text()).toBe("n in the file");
  });

  it("may have been read before, through Hono (B-22, B-55)", async () => {
    const readers: Readonly<Record<string, (c: Context) => unknown>> = {
      json: (c) => c.req.json(),
      text: (c) => c.req.text(),
      arrayBuffer: (c) => c.req.arrayBuffer(),
      blob: (c) => c.req.blob(),
    };
    const app = new Hono();
    for (const [name, reader] of Object.entries(readers)) {
      const before = async (c: Context, next: () => Promise<void>) => {
        await reader(c);
        await next();
      };
      app.post(`/${name}`, before, guardHono(), async (c) => c.json(await c.req.json()));
    }
    const valid = validator("json", (value: unknown) => value as object);
    app.post("/validator", valid, guardHono(), (c) => c.json(c.req.valid("json")));
    const post = await listenHono(app);
    for (const name of [...Object.keys(readers), "validator"]) {
      const first = await post(`/${name}`, { headers: json, body: '{"a":1}' });
      expect(await first.json()).toEqual({ a: 1 });
      const same = await post(`/${name}`, { headers: json, body: '{ "a":1}' });
      expect(same.headers.get("idempotency-replayed")).toBe("true");
      expect((await post(`/${name}`, { headers: json, body: '{"a":2}' })).status).toBe(422);
    }
  });

  it("are refused loudly when their body was read past Hono (B-55)", async () => {
    const messages: string[] = [];
    const app = new Hono();
    app.onError((error, c) => {
      messages.push(error.message);
      return c.text("no", 500);
    });
    app.use(async (c, next) => {
      await c.req.raw.text();
      await next();
    });
    app.post("/r", guardHono(), (c) => c.text("done"));
    const post = await listenHono(app);
    expect((await post("/r", { body: "a" })).status).toBe(500);
    expect(messages[0]).toMatch(/Put idempotent\(\) before/);
    expect((await post("/r")).status).toBe(200);
  });

  it("without a body, with an empty one and with {} differ (B-65)", async () => {
    const app = new Hono().post("/r", guardHono(), (c) => c.text("done"));
    const post = await listenHono(app);
    expect((await post("/r", { headers: json, body: "{}" })).status).toBe(200);
    expect((await post("/r", { headers: json })).status).toBe(422);
    expect((await post("/r", { headers: json, body: '""' })).status).toBe(422);
  });

  it("of routers are told apart by their full pattern and path (B-58, B-59)", async () => {
    const engine = openEngine();
    let runs = 0;
    const count: Handler = (c) => c.text(`${c.req.param("id")} ${(runs += 1)}`);
    const app = new Hono().basePath("/v1");
    for (const mount of ["/orders", "/refunds"]) {
      const sub = new Hono();
      sub.use("*", idempotent(engine, { scope: "public" }));
      sub.post("/:id/capture", count).post("/:id/cancel", count);
      app.route(mount, sub);
    }
    const post = await listenHono(app);
    expect(await (await post("/v1/orders/1/capture")).text()).toBe("1 1");
    expect(await (await post("/v1/refunds/1/capture")).text()).toBe("1 2");
    expect(await (await post("/v1/orders/1/cancel")).text()).toBe("1 3");
    expect((await post("/v1/orders/2/capture")).status).toBe(422);
    expect((await post("/v1/orders/1/capture?a=1")).status).toBe(422);
    expect(await (await post("/v1/orders/1/capture")).text()).toBe("1 1");
  });
});
