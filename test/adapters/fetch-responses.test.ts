/** The fetch adapter and what a handler may answer with, or throw, or leave out. */
import { describe, expect, it } from "vitest";
import { idempotencyOf, idempotent } from "../../src/adapters/fetch.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { until } from "../support/poll.ts";

type Handler = (request: Request, run: number) => unknown;

function setUp(handler: Handler, options: { readonly maxRecordedBytes?: number } = {}) {
  let runs = 0;
  const engine = createEngine({ store: memoryStore() });
  const given = { scope: "public", methods: ["GET", "POST"], ...options } as const;
  const run = (request: Request) => handler(request, (runs += 1)) as Response;
  const guarded = idempotent(engine, async (request: Request) => run(request), given);
  const send = (init: RequestInit = {}): Promise<Response> =>
    guarded(
      new Request("http://h/r", {
        method: "POST",
        ...init,
        headers: { "idempotency-key": "k", ...(init.headers as object) },
      }),
    );
  const codeOf = async (): Promise<unknown> => ((await (await send()).json()) as never)["code"];
  return { send, codeOf, runs: () => runs };
}

/** A response as Deno and Workers have it for an upgrade; Node can make none of status 101. */
function upgraded(more: object = {}): Response {
  return Object.defineProperties(new Response(null), {
    status: { value: 101 },
    ...Object.fromEntries(Object.entries(more).map(([name, value]) => [name, { value }])),
  });
}

describe("a response that is a sign to the platform", () => {
  it("passes as it is and is omitted when it is an upgrade (B-110)", async () => {
    for (const response of [upgraded(), upgraded({ webSocket: {} })]) {
      const { send, codeOf, runs } = setUp(() => response);
      expect(await send()).toBe(response);
      expect([await codeOf(), runs()]).toEqual(["result-omitted", 1]);
    }
  });

  it("is omitted when there is none after an upgrade, as on Bun (B-110)", async () => {
    const { send, runs } = setUp(() => undefined);
    const headers = { connection: "upgrade", upgrade: "websocket" };
    expect(await send({ method: "GET", headers })).toBeUndefined();
    const retry = (await (await send({ method: "GET" })).json()) as { readonly code: string };
    expect([retry.code, runs()]).toEqual(["result-omitted", 1]);
  });

  it("passes and frees the key when it is Response.error(), whatever is recorded", async () => {
    const { send, runs } = setUp((request, run) => {
      idempotencyOf(request)?.record();
      return run < 3 ? Response.error() : new Response("paid");
    });
    for (const _ of [1, 2]) expect((await send()).type).toBe("error");
    expect([await (await send()).text(), runs()]).toEqual(["paid", 3]);
  });

  it("is left alone where the layer adds headers to what it does not protect (B-94)", async () => {
    const claim = () => Promise.reject(new Error("down"));
    const store = { ...memoryStore(), claim };
    const engine = createEngine({ store, storeTimeout: "20ms" });
    const responses = [upgraded(), Response.error()];
    for (const response of responses) {
      const options = { scope: "public", onStoreError: "open" } as const;
      const guarded = idempotent(engine, () => response, options);
      const headers = { "idempotency-key": "k" };
      const request = new Request("http://h/r", { method: "POST", headers });
      expect(await guarded(request)).toBe(response);
    }
  });
});

describe("what is no response", () => {
  it("goes back to the platform, and frees the key", async () => {
    const { send, runs } = setUp((_request, run) => (run === 1 ? undefined : new Response("paid")));
    expect(await send()).toBeUndefined();
    expect([await (await send()).text(), runs()]).toEqual(["paid", 2]);
  });

  it("frees the key when it was read already", async () => {
    const { send, runs } = setUp(async (_request, run) => {
      const response = new Response("paid");
      if (run === 1) response.body?.getReader();
      return response;
    });
    await expect(send()).rejects.toThrow("has been read already");
    expect([await (await send()).text(), runs()]).toEqual(["paid", 2]);
  });

  it("is an outcome when Next.js answers what was thrown (B-78)", async () => {
    const form = { headers: { "content-type": "multipart/form-data; boundary=b" } };
    const cases = [
      ["NEXT_REDIRECT;replace;/a;b;307;", {}, 307, "/a;b"],
      ["NEXT_REDIRECT;push;/done;308;", {}, 308, "/done"],
      ["NEXT_REDIRECT;push;/done;307;", form, 303, "/done"],
      ["NEXT_REDIRECT;push;/done;307;", { headers: { "next-action": "a" } }, 303, "/done"],
      ["NEXT_HTTP_ERROR_FALLBACK;404", {}, 404, null],
    ] as const;
    for (const [digest, init, status, location] of cases) {
      const { send, runs } = setUp(() => {
        throw Object.assign(new Error(digest), { digest });
      });
      await expect(send(init)).rejects.toMatchObject({ digest });
      const retry = await send(init);
      expect([retry.status, retry.headers.get("location"), runs()]).toEqual([status, location, 1]);
    }
  });

  it("is a failure when Next.js answers that with 401 or 403, or not at all (B-68)", async () => {
    for (const digest of ["NEXT_HTTP_ERROR_FALLBACK;403", "DYNAMIC_SERVER_USAGE", 307]) {
      const { send, runs } = setUp((_request, run) => {
        if (run === 1) throw Object.assign(new Error("thrown"), { digest });
        return new Response("paid");
      });
      await expect(send()).rejects.toThrow("thrown");
      expect([await (await send()).text(), runs()]).toEqual(["paid", 2]);
    }
  });
});

describe("a body of the handler's", () => {
  it("of any kind is replayed byte for byte (B-26, B-34)", async () => {
    const form = new FormData();
    form.set("a", "1");
    async function* pieces() {
      yield Buffer.from("a");
      yield Buffer.from([0, 255]);
    }
    const bodies: readonly (() => unknown)[] = [
      () => new Blob(["blob"], { type: "text/x-blob" }),
      () => form,
      () => new URLSearchParams({ a: "1 2" }),
      () => new Uint8Array([0, 255]).buffer,
      () => new Blob(["a", new Uint8Array([0, 255])]).stream().pipeThrough(new TransformStream()),
      pieces,
      () => "",
      () => null,
    ];
    for (const body of bodies) {
      const { send, runs } = setUp(() => new Response(body() as BodyInit));
      const first = await send();
      const bytes = Buffer.from(await first.arrayBuffer());
      const retry = await send();
      expect(retry.headers.get("content-type")).toBe(first.headers.get("content-type"));
      expect(Buffer.from(await retry.arrayBuffer())).toEqual(bytes);
      expect([retry.headers.has("idempotency-replayed"), runs()]).toEqual([true, 1]);
    }
  });

  it("keeps its cookies and status text where the layer adds headers (B-19, B-87)", async () => {
    const { send } = setUp((_request, run) => {
      if (run === 1) throw new Error("broken");
      if (run === 2) return new Response(null, { status: 503 });
      const headers = new Headers([
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
      ]);
      return new Response("paid", { status: 201, statusText: "Paid", headers });
    });
    await expect(send()).rejects.toThrow("broken");
    expect((await send()).headers.get("idempotency-attempt")).toBe("2");
    const response = await send();
    expect([response.status, response.statusText]).toEqual([201, "Paid"]);
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(response.headers.get("idempotency-attempt")).toBe("3");
  });

  it("gets headers of the layer though its own cannot be changed (B-87)", async () => {
    const { send } = setUp((_request, run) => {
      if (run === 1) throw new Error("broken");
      return Response.redirect("http://h/elsewhere", 303);
    });
    await expect(send()).rejects.toThrow("broken");
    const first = await send();
    expect([first.status, first.headers.get("location")]).toEqual([303, "http://h/elsewhere"]);
    expect(first.headers.get("idempotency-attempt")).toBe("2");
    const retry = await send();
    expect([retry.status, retry.headers.get("location")]).toEqual([303, "http://h/elsewhere"]);
  });

  it("that is too large is let go of when its client has left (B-107)", async () => {
    let cancelled: unknown;
    const { send, codeOf, runs } = setUp(
      () => {
        const pull = (controller: ReadableStreamDefaultController) =>
          controller.enqueue(new Uint8Array(10));
        const cancel = (reason: unknown): void => void (cancelled = reason);
        return new Response(new ReadableStream({ pull, cancel }));
      },
      { maxRecordedBytes: 100 },
    );
    await (await send()).body?.cancel("left");
    await until(() => cancelled === "left");
    expect([await codeOf(), runs()]).toEqual(["result-omitted", 1]);
  });

  it("of events is known by its type in any case (B-110)", async () => {
    const { send, codeOf } = setUp(() => {
      const headers = { "content-type": "Text/Event-Stream; charset=utf-8" };
      return new Response("data: 1\n\n", { headers });
    });
    expect(await (await send()).text()).toBe("data: 1\n\n");
    expect(await codeOf()).toBe("result-omitted");
  });
});
