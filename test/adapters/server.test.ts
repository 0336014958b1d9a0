/** The adapters on Node's request and response, over real sockets: node, Express 4 and 5. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import { everyPlace, places, serve } from "../support/places.ts";
import type { Place, PlaceListener } from "../support/places.ts";
import { until } from "../support/poll.ts";
import { bytesOf, portOf } from "../support/raw-socket.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function posting(place: Place, listener: PlaceListener) {
  const { post, close } = await serve(place, listener);
  closers.push(close);
  return post;
}

describe.each(places)("the adapter on %s", (_name, place) => {
  it("executes once and replays the same bytes (B-19, B-26, B-27, B-34)", async () => {
    let runs = 0;
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    const post = await posting(place, (_req, res) => {
      runs += 1;
      res.writeHead(201, { "content-type": "application/x-all", "set-cookie": "s=1" }).end(bytes);
    });
    const first = await post("k");
    const retry = await post('"k"');
    expect([first.status, retry.status]).toEqual([201, 201]);
    expect(new Uint8Array(await first.arrayBuffer())).toEqual(bytes);
    expect(new Uint8Array(await retry.arrayBuffer())).toEqual(bytes);
    expect(first.headers.get("idempotency-replayed")).toBeNull();
    expect(first.headers.get("set-cookie")).toBe("s=1");
    expect(retry.headers.get("idempotency-replayed")).toBe("true");
    expect(retry.headers.get("content-type")).toBe("application/x-all");
    expect(retry.headers.get("set-cookie")).toBeNull();
    expect(runs).toBe(1);
  });

  it("refuses 49 of 50 at once with 409, then replays to all (B-43, B-44, B-46)", async () => {
    let runs = 0;
    const gate = Promise.withResolvers<void>();
    const post = await posting(place, async (_req, res) => {
      runs += 1;
      await gate.promise;
      res.end(`run ${runs}`);
    });
    let refused = 0;
    const all = Array.from({ length: 50 }, async () => {
      const response = await post("storm");
      if (response.status === 409) refused += 1;
      if (refused === 49) gate.resolve();
      return response;
    });
    const answers = await Promise.all(all);
    const conflicts = answers.filter((answer) => answer.status === 409);
    expect(conflicts).toHaveLength(49);
    expect(Number(conflicts[0]?.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(await conflicts[0]?.json()).toMatchObject({ code: "in-progress", status: 409 });
    expect(await (await post("storm")).text()).toBe("run 1");
    expect(runs).toBe(1);
  });

  it("refuses the key with another body, query or media type (B-55, B-60, B-61)", async () => {
    const post = await posting(place, (_req, res) => void res.end("done"));
    expect((await post("k")).status).toBe(200);
    const others = [{ body: "other" }, { path: "/r?a=1" }, { headers: { "content-type": "a/b" } }];
    for (const other of others) expect((await post("k", other)).status).toBe(422);
    expect((await post("k")).headers.get("idempotency-replayed")).toBe("true");
  });

  it("compares JSON by value and keeps scopes apart (B-62, B-100)", async () => {
    let runs = 0;
    const post = await posting(place, (_req, res) => void res.end(String((runs += 1))));
    const headers = { "content-type": "application/json" };
    await post("k", { headers, body: '{"a":1,"b":2}' });
    const same = await post("k", { headers, body: '{ "b": 2, "a": 1 }' });
    expect(await same.text()).toBe("1");
    const stranger = { headers: { ...headers, "x-user": "other" }, body: '{"a":1,"b":2}' };
    expect(await (await post("k", stranger)).text()).toBe("2");
  });
});

describe.each(places)("a handler on %s", (_name, place) => {
  it("leaves the body readable for the handler (B-22)", async () => {
    const post = await posting(place, async (req, res) => {
      const chunks: Buffer[] = [];
      for await (const chunk of req) chunks.push(chunk as Buffer);
      res.end(Buffer.concat(chunks));
    });
    const body = "x".repeat(300_000);
    expect(await (await post("k", { body })).text()).toBe(body);
  });

  it("frees the key when the handler throws or answers 5xx or 429 (B-68, B-69, B-72)", async () => {
    let runs = 0;
    const post = await posting(place, (_req, res) => {
      runs += 1;
      if (runs === 1) throw new Error("no card network");
      res.statusCode = [0, 0, 503, 429, 402][runs] ?? 200;
      res.end("x");
    });
    const statuses: number[] = [];
    for (let index = 0; index < 5; index += 1) statuses.push((await post("k")).status);
    expect(statuses).toEqual([500, 503, 429, 402, 402]);
    expect(runs).toBe(4);
  });

  it("never answers 409 to a retry sent right after the response (B-25)", async () => {
    const post = await posting(place, (_req, res) => {
      res.write("one ");
      res.end("two");
    });
    for (let index = 0; index < 50; index += 1) {
      expect(await (await post(`k${index}`)).text()).toBe("one two");
      expect((await post(`k${index}`)).status).toBe(200);
    }
  });

  it("records 204 without a body, and omits what is too large (B-23, B-107)", async () => {
    let runs = 0;
    const post = await posting(place, (req, res) => {
      runs += 1;
      if (req.headers["x-large"] === undefined) res.writeHead(204).end();
      else res.end(Buffer.alloc(2_000_000));
    });
    expect((await post("k")).status).toBe(204);
    expect((await post("k")).status).toBe(204);
    const headers = { "x-large": "1" };
    expect((await (await post("large", { headers })).arrayBuffer()).byteLength).toBe(2_000_000);
    const retry = await post("large", { headers });
    expect([retry.status, (await retry.json()).code]).toEqual([409, "result-omitted"]);
    expect(runs).toBe(2);
  });

  it("refuses malformed keys before any store call (B-8, B-9, B-11)", async () => {
    let runs = 0;
    const post = await posting(place, (_req, res) => void res.end(String((runs += 1))));
    for (const key of ['""', "a,b", '"a", "b"', "a b", "x".repeat(256), '"a\\x"']) {
      expect((await post(key)).status).toBe(400);
    }
    expect(runs).toBe(0);
    expect((await post("x".repeat(255))).status).toBe(200);
  });
});

describe.each(places)("a client that goes away on %s", (_name, place) => {
  it("changes nothing: a slow answer and a piped one are recorded (B-76)", async () => {
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    const post = await posting(place, async (req, res) => {
      runs += 1;
      const piped = req.headers["x-pipe"] !== undefined;
      if (piped) res.write("part ");
      await gate.promise;
      if (piped) Readable.from(["x".repeat(100_000), "y".repeat(100_000)]).pipe(res);
      else res.end("done");
    });
    const pipe = { headers: { "x-pipe": "1" } };
    const abort = new AbortController();
    const { signal } = abort;
    const gone = Promise.allSettled([
      post("plain", { signal }),
      post("piped", { ...pipe, signal }),
    ]);
    await until(() => runs === 2 || undefined);
    abort.abort();
    await gone;
    gate.resolve();
    const settled = async (key: string, init?: RequestInit): Promise<string> => {
      const response = await until(async () => {
        const answer = await post(key, init);
        return answer.status === 200 ? answer : undefined;
      });
      return response.text();
    };
    expect(await settled("plain")).toBe("done");
    expect(await settled("piped", pipe)).toBe(`part ${"x".repeat(100_000)}${"y".repeat(100_000)}`);
    expect(runs).toBe(2);
  });
});

describe.each(places)("a client that left early on %s", (_name, place) => {
  it("changes nothing for a pipeline that begins after it left (B-76)", async () => {
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    let gone: IncomingMessage["socket"] | undefined;
    const post = await posting(place, async (req, res) => {
      runs += 1;
      gone = req.socket;
      await gate.promise;
      await pipeline(Readable.from(["one ", "two"]), res);
    });
    const abort = new AbortController();
    const cut = post("k", { signal: abort.signal });
    await until(() => gone);
    abort.abort();
    await expect(cut).rejects.toThrow();
    await until(() => gone?.closed);
    gate.resolve();
    const retry = await until(async () => {
      const answer = await post("k");
      return answer.status === 200 ? answer : undefined;
    });
    expect(await retry.text()).toBe("one two");
    expect(runs).toBe(1);
  });

  it("before its body has arrived is not answered and claims nothing (B-77)", async () => {
    let runs = 0;
    const post = await posting(place, (_req, res) => void res.end(String((runs += 1))));
    const abort = new AbortController();
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new Uint8Array(10)),
    });
    const cut = post("k", { body, duplex: "half", signal: abort.signal } as RequestInit);
    setTimeout(() => abort.abort(), 50);
    await expect(cut).rejects.toThrow();
    expect((await post("k")).status).toBe(200);
    expect(runs).toBe(1);
  });
});

describe.each(places)("streams on %s", (_name, place) => {
  it("of events pass at once, and are omitted when their client has left (B-110)", async () => {
    let runs = 0;
    const post = await posting(place, (_req, res) => {
      runs += 1;
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write("data: 1\n\n");
    });
    const abort = new AbortController();
    const first = await post("k", { signal: abort.signal });
    const reader = first.body?.getReader();
    const chunk = await reader?.read();
    expect(Buffer.from(chunk?.value ?? []).toString()).toBe("data: 1\n\n");
    expect((await (await post("k")).json()).code).toBe("in-progress");
    abort.abort();
    await until(
      async () => (await (await post("k")).json()).code === "result-omitted" || undefined,
    );
    expect(runs).toBe(1);
  });

  it("of events end when their client had left before the first (B-110)", async () => {
    const gate = Promise.withResolvers<void>();
    let closed = false;
    let gone: IncomingMessage["socket"] | undefined;
    const post = await posting(place, async (req, res) => {
      gone = req.socket;
      res.once("close", () => (closed = true));
      await gate.promise;
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write("data: 1\n\n");
    });
    const abort = new AbortController();
    const cut = post("k", { signal: abort.signal });
    await until(() => gone);
    abort.abort();
    await expect(cut).rejects.toThrow();
    await until(() => gone?.closed);
    gate.resolve();
    await until(async () => (await (await post("k")).json()).code === "result-omitted");
    expect(closed).toBe(true);
  });

  it("let their first bytes through early (B-109)", async () => {
    const gate = Promise.withResolvers<void>();
    const post = await posting(place, async (_req, res) => {
      res.write("early ");
      await gate.promise;
      res.end("late");
    });
    const first = await post("k");
    const reader = first.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("early ");
    expect((await post("k")).status).toBe(409);
    gate.resolve();
    await until(async () => ((await reader?.read())?.done === true ? true : undefined));
    expect(await (await post("k")).text()).toBe("early late");
  });
});

/** A place whose store leaves time between the end of a response and its record. */
function hesitant(place: Place): Place {
  const store = memoryStore();
  const complete: typeof store.complete = async (...given) => {
    await delay(30);
    return store.complete(...given);
  };
  return { ...place, engine: { store: { ...store, complete } } };
}

describe.each(places)("a handler that breaks off on %s", (_name, place) => {
  it("leaves the key free when the handler's stream breaks (B-111)", async () => {
    let runs = 0;
    const post = await posting(place, (_req, res) => {
      runs += 1;
      res.write("half");
      if (runs === 1) res.destroy();
      else res.end(" whole");
    });
    await expect(post("k").then((response) => response.text())).rejects.toThrow();
    expect(await (await post("k")).text()).toBe("half whole");
  });

  it("keeps what was ended before the handler threw, head and body", async () => {
    const { post, close } = await serve(hesitant(place), (_req, res) => {
      res.statusCode = 201;
      res.setHeader("content-type", "text/x-receipt").end("paid");
      throw new Error("too late");
    });
    closers.push(close);
    for (const replayed of [null, "true"]) {
      const response = await post("k");
      expect([response.status, await response.text()]).toEqual([201, "paid"]);
      expect(response.headers.get("content-type")).toBe("text/x-receipt");
      expect(response.headers.get("idempotency-replayed")).toBe(replayed);
    }
  });
});

describe.each(places)("a store that is closed on %s", (_name, place) => {
  it("answers 503 and executes nothing while the store is down (B-92)", async () => {
    const store = sqliteStore(":memory:");
    let runs = 0;
    const post = await posting(
      { ...place, engine: { store } },
      (_req, res) => void res.end(String((runs += 1))),
    );
    await store.close();
    const response = await post("k");
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(runs).toBe(0);
    expect((await post(undefined)).status).toBe(200);
  });
});

describe("the node adapter", () => {
  it("refuses to be built without a scope (B-101)", () => {
    const engine = createEngine({ store: memoryStore() });
    expect(() => idempotent(engine, {} as never, () => {})).toThrow(TypeError);
  });

  it("answers 500 where the body was read before, and the process goes on (B-55)", async () => {
    let runs = 0;
    const engine = createEngine({ store: memoryStore() });
    const options = { scope: "public" } as const;
    const guarded = idempotent(engine, options, (_req, res) => void res.end(String((runs += 1))));
    const warned = once(process, "warning");
    const server = createServer((req, res) => {
      req.once("data", () => void guarded(req.pause(), res));
    });
    const request = { body: "body", headers: { connection: "close" } };
    const bytes = await bytesOf(await portOf(server), request);
    server.close();
    expect(bytes).toMatch(/^HTTP\/1.1 500 /);
    expect(String((await warned)[0])).toContain("Put idempotent() before the parser.");
    expect(runs).toBe(0);
  });

  it("answers 500 when the listener throws, without a key as well (B-68)", async () => {
    const place = new Map(everyPlace).get("node, memory");
    if (place === undefined) throw new Error("There is no plain server to try it on.");
    const post = await posting(place, () => Promise.reject(new Error("no card network")));
    for (const key of [undefined, "k"]) expect((await post(key)).status).toBe(500);
  });
});
