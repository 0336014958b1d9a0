/**
 * The battery: what must hold on every runtime, asked over real sockets of the app in `battery.ts`.
 * Each test has a name of its own there, so that all of them can run against one server.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../support/poll.ts";

/** A server that runs the battery under `/battery/`. */
export interface Served {
  readonly url: string;
  readonly close: () => Promise<unknown>;
}

interface Visitor {
  /** Posts to a handler with the key `k`, unless `init` names another. */
  readonly post: (path: string, init?: RequestInit) => Promise<Response>;
  readonly open: () => Promise<unknown>;
  readonly runs: () => Promise<number>;
}

/** Registers the battery for a server that `start` starts; `upgrades` where it can make sockets. */
export function describeBattery(
  name: string,
  start: () => Promise<Served>,
  { upgrades = false }: { readonly upgrades?: boolean } = {},
): void {
  describe(`the fetch adapter on ${name}`, () => {
    let served: Served | undefined;
    beforeAll(async () => void (served = await start()), 60_000);
    afterAll(async () => served?.close());
    let tests = 0;
    const visit = (): Visitor => visitor(served?.url ?? "", `${name} ${(tests += 1)}`);
    registerAnswers(visit);
    registerConflicts(visit);
    registerStreams(visit);
    if (upgrades) registerSockets(() => served?.url ?? "");
  });
}

function visitor(url: string, test: string): Visitor {
  const send = (path: string, { headers, ...init }: RequestInit = {}) =>
    fetch(`${url}/battery/${path}`, {
      method: "POST",
      redirect: "manual",
      ...init,
      headers: { "x-test": test, "idempotency-key": "k", ...(headers as object) },
    });
  return {
    post: send,
    open: async () => (await send("open")).json(),
    runs: async () => ((await (await send("runs")).json()) as { runs: number }).runs,
  };
}

/**
 * A response as its client sees it, but for what each exchange has of its own, and for the length
 * where the platform without the layer does not tell it.
 */
async function seen(response: Response, hasLength = response.headers.has("content-length")) {
  const framing = hasLength ? "transfer-encoding" : "transfer-encoding|content-length";
  const own = new RegExp(`^(date|connection|keep-alive|idempotency-.*|${framing})$`);
  const headers = [...response.headers].filter(([name]) => !own.test(name));
  const { status } = response;
  return { status, headers, body: Buffer.from(await response.arrayBuffer()).toString("hex") };
}

const codeOf = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { readonly code?: unknown }).code;

async function replayed({ post }: Visitor, path: string): Promise<Response> {
  return until(async () => {
    const response = await post(path);
    return response.headers.has("idempotency-replayed") ? response : undefined;
  });
}

/** Handlers whose body is known in whole: B-34 bytes, B-23 none, B-35 a redirect, B-71 a 404. */
const whole = "binary json text form blob empty nothing redirect missing".split(" ");

/** What a client gets first, and on a retry. */
function registerAnswers(visit: () => Visitor): void {
  it.each(whole)("answers %s as without the layer, then again (B-19, B-23, B-26)", async (kind) => {
    const unprotected = await visit().post(`plain/${kind}`);
    const hasLength = unprotected.headers.has("content-length");
    const plain = await seen(unprotected);
    const { post, runs } = visit();
    expect(await seen(await post(`once/${kind}`), hasLength)).toEqual(plain);
    const retry = await post(`once/${kind}`);
    expect(retry.headers.get("idempotency-replayed")).toBe("true");
    expect(retry.headers.getSetCookie()).toEqual([]);
    const replay = await seen(retry);
    expect([replay.status, replay.body]).toEqual([plain.status, plain.body]);
    const described = (headers: readonly [string, string][]) =>
      headers.filter(([name]) => /^(content-type|location|link)$/.test(name));
    expect(described(replay.headers)).toEqual(described(plain.headers));
    expect(await runs()).toBe(1);
  });

  it("leaves the body readable, and tells of the claim (B-21, B-22)", async () => {
    const { post } = visit();
    const body = "x".repeat(300_000);
    expect(await (await post("once/echo", { body })).text()).toBe(`k 1 ${body}`);
    expect(await (await post("once/echo", { body })).text()).toBe(`k 1 ${body}`);
  });

  it("refuses another body, query or media type with 422 (B-55, B-60, B-61)", async () => {
    const { post, runs } = visit();
    await (await post("once/echo", { body: "a" })).text();
    const other = { body: "a", headers: { "content-type": "a/b" } };
    const others = [post("once/echo", { body: "b" }), post("once/echo?q", { body: "a" })];
    for (const response of await Promise.all([...others, post("once/echo", other)])) {
      expect([response.status, await codeOf(response)]).toEqual([422, "key-reused"]);
    }
    expect(await runs()).toBe(1);
  });

  it("passes what is too large, and omits it (B-107)", async () => {
    const { post, runs } = visit();
    const { byteLength } = await (await post("once/large")).arrayBuffer();
    expect(byteLength).toBe(2_000_000);
    expect(await codeOf(await post("once/large"))).toBe("result-omitted");
    expect(await runs()).toBe(1);
  });

  it("frees the key when the handler throws (B-68)", async () => {
    const { post, runs } = visit();
    const failed = await post("once/throws");
    await failed.arrayBuffer();
    expect(failed.status).toBe(500);
    expect(await (await post("once/throws")).text()).toBe("paid");
    expect(await (await post("once/throws")).text()).toBe("paid");
    expect(await runs()).toBe(2);
  });
}

/** What it gets while the first request runs. */
function registerConflicts(visit: () => Visitor): void {
  it("refuses 49 of 50 at once, then replays (B-43, B-44, B-46)", async () => {
    const { post, open, runs } = visit();
    let refused = 0;
    const all = Array.from({ length: 50 }, async () => {
      const response = await post("once/gate");
      if (response.status === 409 && (refused += 1) === 49) await open();
      return response;
    });
    const conflicts = (await Promise.all(all)).filter(({ status }) => status === 409);
    expect(conflicts).toHaveLength(49);
    expect(Number(conflicts[0]?.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(await (await post("once/gate")).text()).toBe("run 1");
    expect(await runs()).toBe(1);
  });

  it("lets a duplicate wait for the result (B-49)", async () => {
    const { post, open, runs } = visit();
    const first = post("waiting/gate");
    await until(async () => (await runs()) === 1);
    const duplicates = [post("waiting/gate"), post("waiting/gate")];
    await open();
    expect(await (await first).text()).toBe("run 1");
    for (const duplicate of await Promise.all(duplicates)) {
      expect(duplicate.headers.get("idempotency-replayed")).toBe("true");
      expect(await duplicate.text()).toBe("run 1");
    }
    expect(await runs()).toBe(1);
  });
}

/** Bodies that come in parts, and clients that leave. */
function registerStreams(visit: () => Visitor): void {
  it("lets the first bytes of a stream through, and records it (B-25, B-109)", async () => {
    const { post, open, runs } = visit();
    const first = await post("once/stream");
    const reader = first.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("early ");
    expect(await codeOf(await post("once/stream"))).toBe("in-progress");
    await open();
    const rest: Uint8Array[] = [];
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
      rest.push(next.value);
    }
    expect(Buffer.concat(rest).toString()).toBe("late");
    expect(await (await post("once/stream")).text()).toBe("early late");
    expect(await runs()).toBe(1);
  });

  it("records what a client that went away did not wait for (B-76)", async () => {
    const bodies = { gate: "run 1", stream: "early late", trickle: "0123456789" };
    for (const [kind, body] of Object.entries(bodies)) {
      const one = visit();
      const abort = new AbortController();
      const gone = one.post(`once/${kind}`, { signal: abort.signal });
      const cut = gone.then((response) => response.text()).catch((error: unknown) => error);
      await until(async () => (await one.runs()) === 1);
      abort.abort();
      expect(await cut).toBeInstanceOf(Error);
      await one.open();
      const replay = await replayed(one, `once/${kind}`);
      expect(await replay.text()).toBe(body);
      expect(await one.runs()).toBe(1);
    }
  });

  it("passes events at once and omits them (B-110)", async () => {
    const { post, runs } = visit();
    const abort = new AbortController();
    const first = await post("once/events", { signal: abort.signal });
    const chunk = await first.body?.getReader().read();
    expect(Buffer.from(chunk?.value ?? []).toString()).toBe("data: 1\n\n");
    expect(await codeOf(await post("once/events"))).toBe("in-progress");
    abort.abort();
    await until(async () => (await codeOf(await post("once/events"))) === "result-omitted");
    expect(await runs()).toBe(1);
  });
}

/** Connections that are upgraded. */
function registerSockets(url: () => string): void {
  it("passes a socket through, and omits it (B-110)", async () => {
    const address = `${url()}/battery/socket/echo`;
    const headers = { "idempotency-key": "socket" };
    // Node's WebSocket takes headers, though the standard's does not.
    const socket = new WebSocket(address.replace("http", "ws"), { headers } as never);
    const echo = Promise.withResolvers<unknown>();
    socket.addEventListener("open", () => socket.send("hello"));
    socket.addEventListener("message", ({ data }) => echo.resolve(data));
    socket.addEventListener("error", () => echo.reject(new Error("no socket was made")));
    expect(await echo.promise).toBe("hello");
    const retry = await fetch(address, { headers });
    expect([retry.status, await codeOf(retry)]).toEqual([409, "result-omitted"]);
    socket.close();
  });
}
