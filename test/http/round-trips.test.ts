/** What a request costs the store, over HTTP, on memory, SQLite and a real Redis (B-24, B-38). */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EngineOptions, Store } from "../../src/index.ts";
import { places, serve } from "../support/places.ts";
import { until } from "../support/poll.ts";
import { restingPlaces } from "../support/resting-places.ts";
import type { RestingPlace } from "../support/resting-places.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A server whose handler waits for `gate`, and the names of the calls that its store gets. */
async function open(inner: Store, options: Partial<EngineOptions> = {}) {
  const calls: string[] = [];
  const store = new Proxy(inner, {
    get: (target, name: keyof Store) => {
      const member = target[name];
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        calls.push(name);
        return Reflect.apply(member, target, args);
      };
    },
  });
  const [[, place] = ["", undefined]] = places;
  if (place === undefined) throw new Error("There is no place to serve.");
  const gate = Promise.withResolvers<void>();
  let runs = 0;
  const served = await serve({ ...place, engine: { ...options, store } }, async (_req, res) => {
    runs += 1;
    await gate.promise;
    res.end(`run ${runs}`);
  });
  closers.push(served.close);
  const post = (body = "body") => served.post("k", { body, headers: { "x-user": "customer" } });
  /** Status and text of one request, and what it asked of the store. */
  const cost = async (body?: string) => {
    const before = calls.length;
    const response = await post(body);
    const text = await response.text();
    return { status: response.status, text, calls: calls.slice(before) };
  };
  return { ...served, post, cost, calls, release: () => gate.resolve(), runs: () => runs };
}

describe.each(restingPlaces)("a request on %s", (_name, openPlace) => {
  let place: RestingPlace;
  beforeEach(async () => {
    place = await openPlace();
    closers.push(place.close);
  });

  it("costs two calls first, one as a replay or mismatch, none as a conflict here", async () => {
    const server = await open(place.store);
    const first = server.cost();
    await until(() => server.runs() === 1);
    expect(await server.cost()).toMatchObject({ status: 409, calls: [] });
    expect(await server.cost("other")).toMatchObject({ status: 422, calls: ["claim"] });
    server.calls.length = 0;
    server.release();
    expect(await first).toMatchObject({ status: 200, text: "run 1" });
    expect(server.calls).toEqual(["complete"]);
    const replay = { status: 200, text: "run 1", calls: ["claim"] };
    expect([await server.cost(), await server.cost()]).toEqual([replay, replay]);
    expect(server.runs()).toBe(1);
  });

  it("costs nothing as a replay from the cache, which is like any other", async () => {
    const server = await open(place.store, { replayCache: { maxBytes: 10_000 } });
    server.release();
    await server.post();
    const asked = await server.post();
    const before = server.calls.length;
    const cached = await server.post();
    expect(server.calls).toHaveLength(before);
    expect([cached.status, await cached.text()]).toEqual([200, await asked.text()]);
    const marks = ["idempotency-replayed", "idempotency-original-date", "content-length"];
    for (const name of marks) expect(cached.headers.get(name)).toBe(asked.headers.get(name));
    expect(cached.headers.get("idempotency-replayed")).toBe("true");
    expect(await server.cost("other")).toMatchObject({ status: 422, calls: ["claim"] });
    expect(server.runs()).toBe(1);
  });

  it("costs two calls as a storm of 50 (B-46)", async () => {
    const server = await open(place.store);
    const all = Array.from({ length: 50 }, async () => (await server.post()).status);
    await until(() => server.events.filter((kind) => kind === "conflict").length === 49);
    server.release();
    const statuses = await Promise.all(all);
    expect(statuses.filter((status) => status === 409)).toHaveLength(49);
    expect([server.calls, server.runs()]).toEqual([["claim", "complete"], 1]);
  });
});
