/** Hooks, timeouts and clients that leave around the guard on Fastify. */
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { createGunzip, createGzip, gzipSync } from "node:zlib";
import fastify from "fastify";
import type { FastifyInstance, FastifyReply } from "fastify";
import { afterEach, describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/fastify.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { until } from "../support/poll.ts";
import { openRaw, rawRequest } from "../support/raw-socket.ts";

const apps: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

const guard = () =>
  idempotent(createEngine({ store: memoryStore() }), { scope: (request) => request.headers.host });

async function listen(app: FastifyInstance) {
  apps.push(app);
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  const post = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(url + path, {
      method: "POST",
      ...init,
      headers: { "idempotency-key": "k", ...init.headers },
    });
  return Object.assign(post, { port: Number(new URL(url).port) });
}

const replayed = (response: Response) => response.headers.get("idempotency-replayed") === "true";

describe("onSend hooks on Fastify", () => {
  const hooks: Readonly<Record<string, (payload: unknown) => unknown>> = {
    "wrap JSON": (payload) => JSON.stringify({ data: JSON.parse(payload as string) as unknown }),
    "replace words": (payload) => (payload as string).replace("pay", "repay"),
    "make bytes": (payload) => Buffer.from(`${payload as string}!`),
    "make a stream": (payload) => Readable.from([Buffer.from(`${payload as string}?`)]),
  };
  const cases = Object.entries(hooks).flatMap(([name, change]) =>
    ["before", "behind", "in the route"].map((where) => [name, where, change] as const),
  );

  it.each(cases)("that %s, %s, do so once (B-26)", async (_name, where, change) => {
    const app = fastify();
    const onSend = async (_request: unknown, _reply: unknown, payload: unknown) => change(payload);
    if (where === "before") app.addHook("onSend", onSend);
    await app.register(guard());
    if (where === "behind") app.addHook("onSend", onSend);
    const options = where === "in the route" ? { onSend } : {};
    app.post("/r", options, async () => ({ pay: 1 }));
    const post = await listen(app);
    const first = await post("/r");
    const retry = await post("/r");
    expect([replayed(first), replayed(retry)]).toEqual([false, true]);
    expect(await retry.text()).toBe(await first.text());
    expect(retry.headers.get("content-type")).toBe(first.headers.get("content-type"));
    const other = { body: "other", headers: { "content-type": "text/plain" } };
    expect((await post("/r", other)).status).toBe(422);
  });

  it("add their headers to a replay, and change no refusal of the layer (B-30, B-41)", async () => {
    const app = fastify();
    let sent = 0;
    app.addHook("onSend", async (_request, reply, payload) => {
      reply.header("x-sent", String((sent += 1))).header("set-cookie", `s=${sent}`);
      return (payload as string).replaceAll(/[a-z]/g, "x");
    });
    await app.register(guard());
    app.post("/r", async () => "words");
    const post = await listen(app);
    const answers = [await post("/r"), await post("/r"), await post("/r?changed")];
    expect(answers.map(({ headers }) => headers.get("x-sent"))).toEqual(["1", "2", "3"]);
    expect(answers.map(({ headers }) => headers.get("set-cookie"))).toEqual(["s=1", "s=2", "s=3"]);
    expect(await answers[1]?.text()).toBe("xxxxx");
    expect(answers[2]?.headers.get("content-type")).toBe("application/problem+json");
    expect(await answers[2]?.json()).toMatchObject({ code: "key-reused" });
  });

  it("may compress what leaves: every client can decode it (B-32)", async () => {
    for (const order of ["gzip identity gzip", "identity gzip"]) {
      const app = fastify();
      app.addHook("onSend", async (request, reply, payload) => {
        const isAsked = request.headers["accept-encoding"] === "gzip";
        if (!isAsked || reply.hasHeader("content-encoding")) return payload;
        reply.header("content-encoding", "gzip").removeHeader("content-length");
        return Readable.from([Buffer.from(payload as string)]).pipe(createGzip());
      });
      await app.register(guard());
      app.post("/r", async () => "plain words");
      const post = await listen(app);
      for (const encoding of order.split(" ")) {
        const response = await post("/r", { headers: { "accept-encoding": encoding } });
        expect(await response.text()).toBe("plain words");
      }
    }
  });

  it("leave what preSerialization and schemas have made of it (B-26)", async () => {
    const app = fastify();
    let serialized = 0;
    app.addHook("preSerialization", async (_request, _reply, payload: object) => {
      serialized += 1;
      return { ...payload, serialized, hidden: true };
    });
    await app.register(guard());
    const properties = { serialized: { type: "number" }, paid: { type: "boolean" } };
    const schema = { response: { 200: { type: "object", properties } } };
    app.post("/r", { schema }, async () => ({ paid: true }));
    const post = await listen(app);
    for (const _ of ["first", "replay"]) {
      expect(await (await post("/r")).text()).toBe('{"serialized":1,"paid":true}');
    }
    expect(serialized).toBe(1);
  });
});

describe("a timeout on Fastify", () => {
  const endings: Readonly<Record<string, (reply: FastifyReply) => unknown>> = {
    "a returned string": () => "paid",
    "a returned object": () => ({ paid: true }),
    "a sent stream": (reply) => reply.type("text/x-own").send(Readable.from([Buffer.from("paid")])),
    "a thrown 4xx": () => {
      throw Object.assign(new Error("declined"), { statusCode: 402 });
    },
  };
  const statuses: Readonly<Record<string, number>> = { "a thrown 4xx": 402 };

  it.each(Object.keys(endings))(
    "leaves the handler its key, which ends by %s (B-79)",
    async (ending) => {
      let runs = 0;
      const gate = Promise.withResolvers<void>();
      const app = fastify({ handlerTimeout: 20 });
      await app.register(guard());
      app.post("/r", async (_request, reply) => {
        runs += 1;
        await gate.promise;
        return endings[ending]?.(reply);
      });
      const plain = fastify();
      plain.post("/r", async (_request, reply) => endings[ending]?.(reply));
      const [post, ask] = [await listen(app), await listen(plain)];
      const first = await post("/r");
      expect([first.status, runs]).toEqual([503, 1]);
      expect((await post("/r")).status).toBe(409);
      gate.resolve();
      const retry = await until(async () => {
        const response = await post("/r");
        return response.status === 409 ? undefined : response;
      });
      const expected = await ask("/r");
      expect(retry.status).toBe(statuses[ending] ?? 200);
      expect(retry.headers.get("content-type")).toBe(expected.headers.get("content-type"));
      expect(await retry.text()).toBe(await expected.text());
      expect([replayed(retry), runs]).toEqual([true, 1]);
    },
  );
});

describe("a client that leaves on Fastify", () => {
  const text = "0123456789".repeat(60_000);
  const endings: Readonly<Record<string, (reply: FastifyReply) => unknown>> = {
    "a returned string": () => text,
    nothing: () => undefined,
    "send()": (reply) => reply.send(),
    "a stream": (reply) => reply.send(Readable.from(text.match(/.{1,50000}/g) ?? [])),
    "a stream of the Web": (reply) => reply.send(new Blob([text]).stream()),
    "a Response": (reply) => reply.send(new Response(text)),
    "a late send": (reply) => {
      setTimeout(() => void reply.send(text), 5);
      return reply;
    },
  };
  const empty = new Set(["nothing", "send()"]);

  it.each(Object.keys(endings))("before %s changes nothing (B-76)", async (ending) => {
    for (const leave of ["destroy", "resetAndDestroy"] as const) {
      let runs = 0;
      const gate = Promise.withResolvers<void>();
      const app = fastify();
      await app.register(guard());
      let connection: Socket | undefined;
      app.post("/r", async (request, reply) => {
        runs += 1;
        connection = request.raw.socket;
        await gate.promise;
        return endings[ending]?.(reply);
      });
      const post = await listen(app);
      const { socket } = openRaw(post.port);
      const headers = { host: `127.0.0.1:${post.port}`, "content-length": "0" };
      socket.write(rawRequest({ headers }));
      await until(() => runs === 1);
      socket[leave]();
      await until(() => connection?.destroyed);
      gate.resolve();
      const retry = await until(async () => {
        const response = await post("/r");
        return response.status === 409 ? undefined : response;
      });
      expect((await retry.text()) === (empty.has(ending) ? "" : text)).toBe(true);
      expect([retry.status, replayed(retry), runs]).toEqual([200, true, 1]);
    }
  });

  it("amid a stream changes nothing either (B-76)", async () => {
    let runs = 0;
    const app = fastify();
    await app.register(guard());
    app.post("/r", async (_request, reply) => {
      runs += 1;
      return reply.send(Readable.from(text.match(/.{1,50000}/g) ?? []));
    });
    const post = await listen(app);
    const { socket, received } = openRaw(post.port);
    socket.write(
      rawRequest({ headers: { host: `127.0.0.1:${post.port}`, "content-length": "0" } }),
    );
    await until(() => received() !== "");
    socket.resetAndDestroy();
    const retry = await until(async () => {
      const response = await post("/r");
      return response.status === 409 ? undefined : response;
    });
    expect((await retry.text()) === text).toBe(true);
    expect(runs).toBe(1);
  });
});

describe("bodies on Fastify", () => {
  it("that no parser reads reach the handler whole, and are compared (B-22, B-55)", async () => {
    const app = fastify();
    // As @fastify/multipart does it: the handler reads the parts when it wants them.
    app.addContentTypeParser("multipart/form-data", (_request, _payload, done) => done(null));
    app.decorateRequest("file", () => "a method, not an upload");
    await app.register(guard());
    app.post("/r", async (request) => {
      const chunks = (await request.raw.toArray()) as Buffer[];
      return Buffer.concat(chunks).toString();
    });
    app.post("/json", async (request) => request.body);
    const post = await listen(app);
    const headers = { "content-type": "multipart/form-data; boundary=b" };
    const body = '--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n';
    expect(await (await post("/r", { headers, body })).text()).toBe(body);
    expect(replayed(await post("/r", { headers, body }))).toBe(true);
    expect((await post("/r", { headers, body: body.replace("1", "2") })).status).toBe(422);
    const json = { headers: { "content-type": "application/json" }, body: '{"a":1}' };
    expect(await (await post("/json", json)).json()).toEqual({ a: 1 });
  });

  it("that preParsing decompresses are compared as parsed (B-62)", async () => {
    const app = fastify();
    app.addHook("preParsing", async (request, _reply, payload) => {
      if (request.headers["content-encoding"] !== "gzip") return payload;
      delete request.headers["content-length"];
      return payload.pipe(createGunzip());
    });
    await app.register(guard());
    app.post("/r", async (request) => request.body);
    const post = await listen(app);
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    const first = await post("/r", { headers, body: gzipSync('{"a":1}') });
    expect(await first.json()).toEqual({ a: 1 });
    expect(replayed(await post("/r", { headers, body: gzipSync('{ "a": 1 }') }))).toBe(true);
    expect((await post("/r", { headers, body: gzipSync('{"a":2}') })).status).toBe(422);
  });
});
