/** Every option of a route, and the handler's own say, through the adapters on Node. */
import { brotliCompressSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { memoryStore } from "../../src/stores/memory.ts";
import { places, serve } from "../support/places.ts";
import type { Place, PlaceListener, PlaceOptions, Served } from "../support/places.ts";
import { until } from "../support/poll.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function open(
  place: Place,
  options: PlaceOptions,
  listener?: PlaceListener,
): Promise<Served & { readonly runs: () => number }> {
  let runs = 0;
  const counted: PlaceListener = (req, res, idempotency) => {
    runs += 1;
    if (listener === undefined) return res.end(`run ${runs}`);
    return listener(req, res, idempotency);
  };
  const served = await serve(place, counted, options);
  closers.push(served.close);
  return { ...served, runs: () => runs };
}

const json = { "content-type": "application/json" };
const textOf = async (response: Promise<Response>) => (await response).text();

describe.each(places)("keys on %s", (_name, place) => {
  it("may be required (B-2)", async () => {
    const { post, runs } = await open(place, { required: true });
    const response = await post(undefined);
    expect(response.status).toBe(400);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("link")).toMatch(/rel="describedby"/);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await response.json()).toMatchObject({
      code: "key-missing",
      title: "Idempotency-Key is missing",
    });
    expect(runs()).toBe(0);
  });

  it("must be quoted in strict mode (B-5)", async () => {
    const { post } = await open(place, { keySyntax: "strict" });
    expect((await post("bare")).status).toBe(400);
    expect((await post('"quoted"')).status).toBe(200);
  });

  it("may come from elsewhere", async () => {
    const key = (req: { headers: Record<string, unknown> }) => req.headers["x-event"] as string;
    const { post, runs } = await open(place, { key });
    const event = { headers: { "x-event": "e1" } };
    expect(await textOf(post(undefined, event))).toBe("run 1");
    expect(await textOf(post("ignored", event))).toBe("run 1");
    expect((await post(undefined, { headers: { "x-event": "\u00e9" } })).status).toBe(400);
    expect(await textOf(post("ignored"))).toBe("run 2");
    expect(runs()).toBe(2);
  });

  it("are echoed, with the expiry, when asked for (B-40, B-115)", async () => {
    const { post } = await open(place, { echoKey: true, expiryHeaders: true, retention: "1h" });
    for (const _ of ["first", "replay"]) {
      const { headers } = await post('a"b');
      expect(headers.get("idempotency-key")).toBeNull();
    }
    const first = await post("k");
    expect(first.headers.get("idempotency-key")).toBe('"k"');
    expect(Number(first.headers.get("idempotency-ttl"))).toBe(3600);
    const replay = await post("k");
    expect(replay.headers.get("idempotency-key")).toBe('"k"');
    expect(Number(replay.headers.get("idempotency-ttl"))).toBeGreaterThan(3590);
    expect(Date.parse(replay.headers.get("idempotency-expires") ?? "")).toBeGreaterThan(Date.now());
  });

  it("protect the methods that are listed (B-16, B-17)", async () => {
    const { post, runs } = await open(place, { methods: ["PUT"] });
    for (const method of ["POST", "GET", "PUT", "PUT"]) {
      await post("k", { method, ...(method === "GET" ? { body: null } : {}) });
    }
    expect(runs()).toBe(3);
  });
});

describe.each(places)("comparison on %s", (_name, place) => {
  it("may ignore the order of the query (B-60)", async () => {
    const { post } = await open(place, { fingerprint: { query: "unordered" } });
    await post("k", { path: "/r?a=1&b=2" });
    expect((await post("k", { path: "/r?b=2&a=1" })).status).toBe(200);
    expect((await post("k", { path: "/r?b=2&a=2" })).status).toBe(422);
  });

  it("may be by bytes, or without some fields (B-62, B-63)", async () => {
    const bytes = await open(place, { fingerprint: { json: "bytes" } });
    await bytes.post("k", { headers: json, body: "9007199254740992" });
    const other = await bytes.post("k", { headers: json, body: "9007199254740993" });
    expect(other.status).toBe(422);
    const ignoring = await open(place, { fingerprint: { ignoreFields: ["sent_at"] } });
    await ignoring.post("k", { headers: json, body: '{"a":1,"sent_at":1}' });
    const later = await ignoring.post("k", { headers: json, body: '{"sent_at":2,"a":1}' });
    expect(later.status).toBe(200);
    expect((await ignoring.post("k", { headers: json, body: '{"a":2}' })).status).toBe(422);
  });

  it("answers with the chosen status, and the same code (B-66)", async () => {
    const { post } = await open(place, { mismatchStatus: 409 });
    await post("k");
    const response = await post("k", { body: "other" });
    expect([response.status, (await response.json()).code]).toEqual([409, "key-reused"]);
    expect(response.headers.get("x-should-retry")).toBe("false");
  });
});

describe.each(places)("recording on %s", (_name, place) => {
  it("may keep 5xx (B-70, B-80)", async () => {
    const { post, runs } = await open(place, { record: "all" }, (_req, res) => {
      res.statusCode = 503;
      res.end("down");
    });
    await post("k");
    const replay = await post("k");
    expect([replay.status, await replay.text()]).toEqual([503, "down"]);
    expect(replay.headers.get("idempotency-replayed")).toBe("true");
    expect(runs()).toBe(1);
  });

  it("of a compressed response is decoded for who does not accept it (B-32)", async () => {
    const { post } = await open(place, {}, (_req, res) => {
      res.setHeader("content-type", "text/plain").setHeader("content-encoding", "br");
      res.end(brotliCompressSync("plain words"));
    });
    for (const [accept, encoding] of [
      ["br", "br"],
      ["gzip, br;q=0", null],
      ["*", "br"],
      ["identity", null],
    ] as const) {
      const response = await post("k", { headers: { "accept-encoding": accept } });
      expect(response.headers.get("content-encoding")).toBe(encoding);
      expect(await response.text()).toBe("plain words");
    }
  });

  it("is the handler's to overrule (B-74)", async () => {
    const { post, runs } = await open(place, {}, (req, res, idempotency) => {
      if (req.headers["x-skip"] === undefined) idempotency?.record();
      else idempotency?.skip();
      res.statusCode = req.headers["x-skip"] === undefined ? 503 : 200;
      res.end();
    });
    for (const key of ["a", "a"]) expect((await post(key)).status).toBe(503);
    for (const key of ["b", "b"]) await post(key, { headers: { "x-skip": "1" } });
    expect(runs()).toBe(3);
  });
});

describe.each(places)("attempts on %s", (_name, place) => {
  it("never frees what was committed (B-75)", async () => {
    const { post, runs, events } = await open(place, {}, async (_req, res, idempotency) => {
      await idempotency?.commit();
      res.statusCode = 500;
      res.end();
    });
    expect((await post("k")).status).toBe(500);
    const retry = await post("k");
    expect([retry.status, (await retry.json()).code]).toEqual([409, "outcome-unknown"]);
    expect(retry.headers.get("retry-after")).toBeNull();
    expect(retry.headers.get("x-should-retry")).toBe("false");
    expect(runs()).toBe(1);
    expect(events).toEqual(["in-doubt", "in-doubt"]);
  });

  it("marks attempts and replays, by the chosen names (B-27, B-87)", async () => {
    const options = { replayMarkers: ["Idempotent-Replayed", "X-Replay"] };
    const { post } = await open(place, options, (_req, res, idempotency) => {
      res.statusCode = idempotency?.attempt === 1 ? 500 : 200;
      res.end();
    });
    expect((await post("k")).headers.get("idempotency-attempt")).toBeNull();
    expect((await post("k")).headers.get("idempotency-attempt")).toBe("2");
    const { headers } = await post("k");
    expect(["idempotent-replayed", "x-replay"].map((name) => headers.get(name))).toEqual([
      "true",
      "true",
    ]);
    expect(headers.get("idempotency-replayed")).toBeNull();
  });
});

describe.each(places)("conflicts on %s", (_name, place) => {
  const gated = () => {
    const gate = Promise.withResolvers<void>();
    const listener: PlaceListener = async (_req, res) => {
      await gate.promise;
      res.end("done");
    };
    return { open: () => gate.resolve(), listener };
  };

  it("may wait for the result (B-49)", async () => {
    const gate = gated();
    const options = { onConflict: { wait: "10s" } };
    const { post, runs, events } = await open(place, options, gate.listener);
    const first = post("k");
    await until(() => runs() === 1 || undefined);
    const duplicate = post("k");
    await until(() => events.includes("waited") || undefined);
    gate.open();
    expect(await textOf(first)).toBe("done");
    const answer = await duplicate;
    expect(answer.headers.get("idempotency-replayed")).toBe("true");
    expect([await answer.text(), runs()]).toEqual(["done", 1]);
  });

  it("waits no longer than its budget, or than the client prefers (B-50, B-53)", async () => {
    const gate = gated();
    const options = { onConflict: { wait: "60s" } };
    const { post, runs } = await open(place, options, gate.listener);
    const first = post("k");
    await until(() => runs() === 1 || undefined);
    const refused = await post("k", { headers: { prefer: "respond-async, wait=0" } });
    expect(refused.status).toBe(409);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    gate.open();
    expect((await first).status).toBe(200);
  });

  it("let go of a waiter whose client went away (B-52)", async () => {
    const gate = gated();
    const options = { onConflict: { wait: "60s" } };
    const { post, runs, events } = await open(place, options, gate.listener);
    const first = post("k");
    await until(() => runs() === 1 || undefined);
    const abort = new AbortController();
    const waiter = post("k", { signal: abort.signal }).catch(() => "gone");
    await until(() => events.includes("waited") || undefined);
    abort.abort();
    expect(await waiter).toBe("gone");
    await until(() => events.includes("conflict") || undefined);
    gate.open();
    expect((await first).status).toBe(200);
  });
});

describe.each(places)("compat: stripe on %s", (_name, place) => {
  it("looks like Stripe to Stripe's SDKs (B-116)", async () => {
    const gate = Promise.withResolvers<void>();
    const { post, runs } = await open(place, { compat: "stripe" }, async (_req, res) => {
      await gate.promise;
      res.statusCode = 500;
      res.end("failed");
    });
    const first = post("stripe-node-retry-1");
    await until(() => runs() === 1 || undefined);
    const conflict = await post("stripe-node-retry-1");
    expect([conflict.status, conflict.headers.get("stripe-should-retry")]).toEqual([409, "true"]);
    const { error } = (await conflict.json()) as { error: { type: string; code: string } };
    expect([error.type, error.code]).toEqual(["idempotency_error", "idempotency_key_in_use"]);
    gate.resolve();
    expect((await first).status).toBe(500);
    const replay = await post("stripe-node-retry-1");
    expect([replay.status, await replay.text()]).toEqual([500, "failed"]);
    expect(replay.headers.get("idempotent-replayed")).toBe("true");
    expect(replay.headers.get("x-should-retry")).toBe("false");
    const other = await post("stripe-node-retry-1", { body: "other" });
    expect([other.status, other.headers.get("stripe-should-retry")]).toEqual([400, "false"]);
    expect(runs()).toBe(1);
  });
});

describe.each(places)("a store that is down on %s", (_name, place) => {
  it("lets an open route run unprotected, and says so (B-94)", async () => {
    const sound = memoryStore();
    const claim = () => Promise.reject(new Error("down"));
    const down = { ...place, engine: { storeTimeout: "50ms", store: { ...sound, claim } } };
    const { post, runs, events } = await open(down, { onStoreError: "open" });
    const response = await post("k");
    expect([response.status, await response.text()]).toEqual([200, "run 1"]);
    expect(response.headers.get("idempotency-status")).toBe("bypassed");
    expect(events).toEqual(["store-unavailable", "bypassed"]);
    const closed = await open(down, {});
    expect((await closed.post("k")).status).toBe(503);
    expect([runs(), closed.runs()]).toEqual([1, 0]);
  });
});

describe("options", () => {
  const [[, place] = ["", undefined]] = places;
  it.each([
    [{ scop: 1 }, /does not know the option "scop"/],
    [{ keySyntax: "loose" }, /keySyntax must be "lenient" or "strict"/],
    [{ onConflict: "wait" }, /onConflict must be "reject" or/],
    [{ onConflict: { wait: "soon" } }, /onConflict.wait must be a duration/],
    [{ onStoreError: "ajar" }, /onStoreError must be/],
    [{ onAbandoned: "retry" }, /onAbandoned must be/],
    [{ record: "none" }, /record must be/],
    [{ mismatchStatus: 418 }, /mismatchStatus must be/],
    [{ replayHeaders: ["X-Own", "Set-Cookie"] }, /replayHeaders must not name Set-Cookie/],
    [{ maxRecordedBytes: -1 }, /maxRecordedBytes must be/],
    [{ lease: "1ms" }, /lease must be a duration/],
  ])("%j is refused at construction", async (options, words) => {
    if (place === undefined) throw new Error("There is no place to try it in.");
    await expect(open(place, options as never)).rejects.toThrow(words);
  });
});
