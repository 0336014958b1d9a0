/** The adapter for Request → Response handlers. */
import { describe, expect, it } from "vitest";
import { idempotencyOf, idempotent } from "../../src/adapters/fetch.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { until } from "../support/poll.ts";

type Handler = (request: Request, runs: number) => Response | Promise<Response>;

function setUp(handler: Handler) {
  let runs = 0;
  const events: string[] = [];
  const engine = createEngine({
    store: memoryStore(),
    onEvent: (event) => void events.push(event.kind),
  });
  const scope = (request: Request) => request.headers.get("x-user") ?? "u";
  const guarded = idempotent(
    engine,
    async (request: Request) => {
      runs += 1;
      return handler(request, runs);
    },
    { scope },
  );
  const post = (init: RequestInit & { readonly path?: string } = {}) => {
    const { path = "/r", ...rest } = init;
    const headers = { "idempotency-key": "k", ...init.headers };
    return guarded(new Request(`http://h${path}`, { method: "POST", ...rest, headers }));
  };
  return { post, events, runs: () => runs };
}

describe("the fetch adapter", () => {
  it("executes once and replays bytes and headers (B-19, B-26, B-28, B-29, B-34)", async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    const headers = [
      ["content-type", "a/b"],
      ["location", "/1"],
      ["set-cookie", "s=1"],
    ] as [string, string][];
    const { post, runs, events } = setUp(() => new Response(bytes, { status: 201, headers }));
    const first = await post();
    expect(first.headers.getSetCookie()).toEqual(["s=1"]);
    expect(new Uint8Array(await first.arrayBuffer())).toEqual(bytes);
    const retry = await post();
    expect(retry.status).toBe(201);
    expect(retry.headers.get("location")).toBe("/1");
    expect(retry.headers.get("idempotency-replayed")).toBe("true");
    expect(retry.headers.getSetCookie()).toEqual([]);
    expect(new Uint8Array(await retry.arrayBuffer())).toEqual(bytes);
    expect([runs(), events]).toEqual([1, ["executed", "replayed"]]);
  });

  it("hands the handler its own request, body unread, and the claim (B-21, B-22)", async () => {
    const { post } = setUp(async (request) => {
      const { key, attempt } = idempotencyOf(request) ?? {};
      return new Response(`${key} ${attempt} ${await request.text()}`);
    });
    expect(await (await post({ body: "body" })).text()).toBe("k 1 body");
  });

  it("refuses 49 of 50 at once (B-46)", async () => {
    const gate = Promise.withResolvers<void>();
    const { post, runs } = setUp(async () => {
      await gate.promise;
      return new Response("done");
    });
    const all = Array.from({ length: 50 }, () => post());
    await until(() => runs() === 1 || undefined);
    setImmediate(() => gate.resolve());
    const statuses = await Promise.all(all.map(async (answer) => (await answer).status));
    expect(statuses.filter((status) => status === 409)).toHaveLength(49);
    expect(runs()).toBe(1);
  });

  it("refuses another body or query, and keeps scopes apart (B-55, B-60, B-100)", async () => {
    const { post, runs } = setUp(() => new Response("done"));
    await (await post({ body: "a" })).text();
    const others = [{ body: "b" }, { body: "a", path: "/r?q" }, {}];
    for (const other of others) expect((await post(other)).status).toBe(422);
    await (await post({ body: "b", headers: { "x-user": "other" } })).text();
    expect(runs()).toBe(2);
  });

  it("frees the key when the handler throws or answers 5xx (B-68, B-69)", async () => {
    const { post, runs } = setUp((_request, run) => {
      if (run === 1) throw new Error("broken");
      return new Response(null, { status: run === 2 ? 503 : 204 });
    });
    await expect(post()).rejects.toThrow("broken");
    expect((await post()).status).toBe(503);
    expect([(await post()).status, (await post()).status, runs()]).toEqual([204, 204, 3]);
  });

  it.each([
    ["of any length", {}, ["early ", "late"]],
    ["of known length", { "content-length": "10" }, ["early", " lat", "e"]],
  ])(
    "lets a body %s through early and records it before its end (B-25, B-109)",
    async (_what, headers, pieces) => {
      const gate = Promise.withResolvers<void>();
      const { post, runs } = setUp(() => {
        const body = new ReadableStream({
          start: async (controller) => {
            controller.enqueue(Buffer.from("early "));
            await gate.promise;
            controller.enqueue(Buffer.from("late"));
            controller.close();
          },
        });
        return new Response(body, { headers });
      });
      const first = await post();
      const reader = first.body?.getReader();
      const read = async () => Buffer.from((await reader?.read())?.value ?? []).toString();
      expect(await read()).toBe(pieces[0]);
      expect((await post()).status).toBe(409);
      gate.resolve();
      for (const piece of pieces.slice(1)) expect(await read()).toBe(piece);
      expect(await (await post()).text()).toBe("early late");
      expect((await reader?.read())?.done).toBe(true);
      expect(runs()).toBe(1);
    },
  );

  it("passes a body that is too large on, however it is cut (B-107, B-108)", async () => {
    const sizes = [1_048_576, 1, 1, 500_000, 1, 0, 1];
    const { post } = setUp(() => {
      const left = [...sizes];
      const stream = new ReadableStream({
        pull: (controller) => {
          const size = left.shift();
          if (size === undefined) controller.close();
          else controller.enqueue(new Uint8Array(size));
        },
      });
      return new Response(stream);
    });
    const bytes = await (await post()).arrayBuffer();
    expect(bytes.byteLength).toBe(sizes.reduce((total, size) => total + size, 0));
    expect((await (await post()).json()).code).toBe("result-omitted");
  });

  it("records a stream that nobody takes, behind a timeout (B-79)", async () => {
    const { post, runs } = setUp(async () => {
      const parts = ["one ", "two"].map((part) => Buffer.from(part));
      const stream = new ReadableStream({
        pull: (controller) => {
          const part = parts.shift();
          if (part === undefined) controller.close();
          else controller.enqueue(part);
        },
      });
      return new Response(stream);
    });
    await post(); // and nobody reads it
    const retry = await until(async () => {
      const response = await post();
      return response.status === 200 ? response : undefined;
    });
    expect([await retry.text(), runs()]).toEqual(["one two", 1]);
  });

  it("records what a client that went away did not read (B-76)", async () => {
    const { post, runs } = setUp(() => new Response("a long answer"));
    await (await post()).body?.cancel();
    expect(await (await post()).text()).toBe("a long answer");
    expect(runs()).toBe(1);
  });

  it("frees the key when the body breaks, and omits what is too large (B-107, B-111)", async () => {
    const { post, runs } = setUp((request, run) => {
      if (request.headers.has("x-large")) return new Response(new Uint8Array(2_000_000));
      const broken = new ReadableStream({ start: (c) => c.error(new Error("torn")) });
      return new Response(run === 1 ? broken : "whole");
    });
    await expect((await post()).text()).rejects.toThrow("torn");
    expect(await (await post()).text()).toBe("whole");
    const large = { headers: { "x-large": "1", "idempotency-key": "large" } };
    expect((await (await post(large)).arrayBuffer()).byteLength).toBe(2_000_000);
    const retry = await post(large);
    expect([retry.status, (await retry.json()).code]).toEqual([409, "result-omitted"]);
    expect(runs()).toBe(3);
  });

  it("passes event streams through and omits them (B-110)", async () => {
    const { post, runs } = setUp(() => {
      const stream = new ReadableStream({ pull: (c) => c.enqueue(Buffer.from("data: 1\n\n")) });
      return new Response(stream, { headers: { "content-type": "text/event-stream" } });
    });
    const first = await post();
    const reader = first.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("data: 1\n\n");
    expect((await (await post()).json()).code).toBe("in-progress");
    await reader?.cancel();
    expect((await (await post()).json()).code).toBe("result-omitted");
    expect(runs()).toBe(1);
  });

  it("replays a status without a body (B-23)", async () => {
    for (const status of [204, 205]) {
      const { post } = setUp(() => new Response(null, { status }));
      expect([(await post()).status, (await post()).status]).toEqual([status, status]);
    }
  });

  it("passes what has no key, and refuses a missing scope (B-1, B-101)", async () => {
    const { post, runs } = setUp(() => new Response("x"));
    for (const _ of [1, 2]) await post({ headers: { "idempotency-key": "" } });
    expect(runs()).toBe(0);
    const engine = createEngine({ store: memoryStore() });
    expect(() => idempotent(engine, () => new Response(), {} as never)).toThrow(TypeError);
    const nobody = idempotent(engine, () => new Response("ran"), { scope: () => undefined });
    const headers = { "idempotency-key": "k" };
    const refused = await nobody(new Request("http://h/r", { method: "POST", headers }));
    expect(refused.status).toBe(400);
    const plain = await nobody(new Request("http://h/r", { method: "POST" }));
    expect(await plain.text()).toBe("ran");
  });
});
