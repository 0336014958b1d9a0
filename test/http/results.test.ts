/**
 * Results at rest, over HTTP: encrypted, rotated, moved, torn and redacted ones, on memory, SQLite
 * and a real Redis. What cannot be read is a 503 and an event, and never a second execution.
 */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compressed, encrypted } from "../../src/engine/results/results.ts";
import type { EngineEvent, EngineOptions } from "../../src/index.ts";
import { acceptable } from "../../src/http/recording/encoding.ts";
import type { RecordId } from "../../src/machine/record.ts";
import { places, serve } from "../support/places.ts";
import type { PlaceListener, PlaceOptions } from "../support/places.ts";
import { restingPlaces } from "../support/resting-places.ts";
import type { RestingPlace } from "../support/resting-places.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const keys = { one: randomBytes(32), two: randomBytes(32) };
const both = { results: [compressed(), encrypted({ keys, current: "one" })] };
const caller = { headers: { "x-user": "customer" } };

/** A counting server on `node:http`; every one of them is the same to its callers. */
async function open(
  store: EngineOptions["store"],
  engine: Partial<EngineOptions> = {},
  { listener, ...options }: PlaceOptions & { readonly listener?: PlaceListener } = {},
) {
  const [[, place] = ["", undefined]] = places;
  if (place === undefined) throw new Error("There is no place to serve.");
  let runs = 0;
  const counted: PlaceListener = (req, res, idempotency) => {
    runs += 1;
    return listener === undefined ? res.end(`run ${runs}`) : listener(req, res, idempotency);
  };
  const served = await serve({ ...place, engine: { ...engine, store } }, counted, options);
  closers.push(served.close);
  const seen: EngineEvent[] = [];
  served.engine.subscribe((event) => void seen.push(event));
  return { ...served, seen, runs: () => runs, post: (key: string) => served.post(key, caller) };
}

async function answerOf(response: Promise<Response>) {
  const { status, headers } = await response;
  const text = await (await response).text();
  return { status, text, replayed: headers.get("idempotency-replayed") };
}

/** Demands the 503 of a record that is there and cannot be read. */
async function expectLocked(server: Awaited<ReturnType<typeof open>>, key: string): Promise<void> {
  const before = server.runs();
  const response = await server.post(key);
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  const problem: unknown = await response.json();
  expect(problem).toMatchObject({
    code: "store-unavailable",
    title: "Idempotency cannot be guaranteed right now",
  });
  expect(server.runs()).toBe(before);
  expect(server.events.at(-1)).toBe("store-corrupt");
}

let place: RestingPlace;
const openIn = (openPlace: () => Promise<RestingPlace>) => async () => {
  place = await openPlace();
  closers.push(place.close);
};

describe.each(restingPlaces)("results on %s", (_name, openPlace) => {
  beforeEach(openIn(openPlace));

  it("are replayed byte for byte through compression and encryption (B-26, B-34)", async () => {
    const bodies: Readonly<Record<string, Buffer>> = {
      text: Buffer.from(JSON.stringify(Array(20_000).fill("paid"))),
      noise: randomBytes(100_000),
      all: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
      nothing: Buffer.alloc(0),
    };
    const { url, engine, runs } = await open(place.store, both, {
      listener: (req, res) => {
        const body = bodies[String(req.headers["x-body"])];
        res.writeHead(201, { "content-type": "a/b", location: "/r/1", link: "</a>" }).end(body);
      },
    });
    const post = (name: string) => {
      const headers = { "idempotency-key": name, "x-body": name, "x-user": "customer" };
      return fetch(`${url}/r`, { method: "POST", headers });
    };
    for (const [name, body] of Object.entries(bodies)) {
      for (const replayed of [null, "true"]) {
        const response = await post(name);
        expect(response.status).toBe(201);
        expect(response.headers.get("idempotency-replayed")).toBe(replayed);
        expect(response.headers.get("location")).toBe("/r/1");
        expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true);
      }
    }
    expect(runs()).toBe(4);
    await engine.close();
  });

  it("outlive a rotation, and are locked when their key is gone (B-97)", async () => {
    const before = { results: [encrypted({ keys: { one: keys.one }, current: "one" })] };
    const rotated = { results: [encrypted({ keys, current: "two" })] };
    const removed = { results: [encrypted({ keys: { two: keys.two }, current: "two" })] };
    const first = await open(place.store, before);
    const second = await open(place.store, rotated);
    const third = await open(place.store, removed, { onStoreError: "open" });
    expect(await answerOf(first.post("old"))).toMatchObject({ text: "run 1", replayed: null });
    expect(await answerOf(second.post("young"))).toMatchObject({ text: "run 1", replayed: null });
    for (const key of ["old", "young"]) {
      expect(await answerOf(second.post(key))).toMatchObject({ text: "run 1", replayed: "true" });
    }
    expect(await answerOf(third.post("young"))).toMatchObject({ text: "run 1", replayed: "true" });
    await expectLocked(third, "old");
    expect(third.seen.at(-1)?.cause).toMatchObject({
      code: "store-corrupt",
      message: expect.stringContaining("not in the ring") as string,
    });
  });
});

describe.each(restingPlaces)("results on %s", (_name, openPlace) => {
  beforeEach(openIn(openPlace));

  it("in plain text are refused, but during a migration that says so (B-97)", async () => {
    const plain = await open(place.store);
    await plain.post("k");
    await expectLocked(await open(place.store, both, { onStoreError: "open" }), "k");
    const { one } = keys;
    const migrating = encrypted({ keys: { one }, current: "one", acceptPlaintext: true });
    const server = await open(place.store, { results: [compressed(), migrating] });
    expect(await answerOf(server.post("k"))).toMatchObject({ text: "run 1", replayed: "true" });
    await server.post("new");
    await expectLocked(plain, "new");
  });

  it("that no version wrote are a 503, never a raw 500 (B-97)", async () => {
    const torn = ["", "09", "0103ffffffff", "0103000000027b22"].map((hex) =>
      Buffer.from(hex, "hex"),
    );
    const { store } = place;
    for (const [index, result] of torn.entries()) {
      const complete: typeof store.complete = (id, completion) =>
        store.complete(id, { ...completion, result });
      const server = await open({ ...store, complete }, {}, { onStoreError: "open" });
      await server.post(`k${index}`);
      await expectLocked(server, `k${index}`);
      expect(server.events).toEqual(["executed", "replayed", "store-corrupt"]);
    }
  });
});

describe("a replay", () => {
  it("whose body is not in the encoding it names is sent as it is (B-32)", () => {
    for (const encoding of ["gzip", "br", "deflate"]) {
      const headers = [["content-encoding", encoding]] as const;
      const answer = { status: 200, headers, body: Buffer.from("plain") };
      expect(acceptable(answer, ["identity"])).toEqual(answer);
    }
  });
});

describe.each(restingPlaces.slice(1))("a record in %s", (_name, openPlace) => {
  beforeEach(openIn(openPlace));

  it("that was moved to another key does not open there (AAD)", async () => {
    const server = await open(place.store, both);
    await server.post("mine");
    await server.post("yours");
    const ids = (await place.store.list()).records.map(({ id }) => id);
    expect(ids).toHaveLength(2);
    await place.move?.(ids[0] as RecordId, ids[1] as RecordId);
    const answers = [await server.post("mine"), await server.post("yours")];
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 503]);
    expect(server.events.filter((kind) => kind === "store-corrupt")).toHaveLength(1);
    expect(server.runs()).toBe(2);
  });
});

const card = "4242 4242 4242 4242";
const masked = "**** 4242";

describe("a redacted response", () => {
  const [[, openMemory] = ["", undefined]] = restingPlaces;
  beforeEach(async () => {
    if (openMemory === undefined) throw new Error("There is no place to rest.");
    await openIn(openMemory)();
  });
  const listener: PlaceListener = (_req, res) => {
    res.writeHead(201, { "content-type": "application/json", location: "/secret/1" });
    res.end(JSON.stringify({ card, paid: true }));
  };

  it("reaches its first client whole; the store and replays get what redact made", async () => {
    const seen: unknown[] = [];
    const server = await open(
      place.store,
      {},
      {
        listener,
        redact: ({ status, headers, body }) => {
          seen.push(headers);
          const receipt = { ...(JSON.parse(Buffer.from(body).toString()) as object), card: masked };
          body.fill(0); // a copy: the client's bytes are not these
          const cookie = ["set-cookie", card] as const;
          return { status, headers: [...headers, cookie], body: JSON.stringify(receipt) };
        },
      },
    );
    const first = await answerOf(server.post("k"));
    expect(first).toMatchObject({ status: 201, text: JSON.stringify({ card, paid: true }) });
    const retry = await server.post("k");
    expect(retry.headers.get("idempotency-replayed")).toBe("true");
    expect([retry.status, retry.headers.get("set-cookie")]).toEqual([201, null]);
    expect(await retry.json()).toEqual({ card: masked, paid: true });
    expect(seen).toEqual([
      [
        ["content-type", "application/json"],
        ["location", "/secret/1"],
      ],
    ]);
    expect((await place.bytes()).includes(card)).toBe(false);
    expect(server.runs()).toBe(1);
  });

  const thrower = (): never => {
    throw new SyntaxError(`Unexpected token in ${card}`);
  };
  it.each([
    ["throws", thrower, "threw a SyntaxError"],
    ["returns nothing", () => undefined, "returned what cannot be kept"],
    ["is asynchronous", async () => ({ status: 200, headers: [], body: "" }), "returned"],
    ["invents a status", () => ({ status: 99, headers: [], body: "" }), "returned"],
    [
      "splits a header",
      () => ({ status: 200, headers: [["etag", "a\r\nb"]], body: "" }),
      "returned",
    ],
    ["forgets the body", () => ({ status: 200, headers: [] }), "returned"],
  ])("is omitted when redact %s", async (_name, redact, why) => {
    const server = await open(place.store, {}, { listener, redact: redact as never });
    expect(await answerOf(server.post("k"))).toMatchObject({
      status: 201,
      text: expect.stringContaining("4242") as string,
    });
    const retry = await server.post("k");
    expect(retry.status).toBe(409);
    expect(await retry.json()).toMatchObject({ code: "result-omitted", originalStatus: 201 });
    expect(server.events).toEqual(["redact-failed", "executed", "replayed"]);
    expect(server.seen[0]?.cause).toMatchObject({ message: expect.stringContaining(why) });
    expect(String(server.seen[0]?.cause)).not.toContain("4242");
    expect((await place.bytes()).includes(card)).toBe(false);
    expect(server.runs()).toBe(1);
  });

  it("must be made by a function", async () => {
    await expect(open(place.store, {}, { redact: "card" as never })).rejects.toThrow(
      /redact must be a function/,
    );
  });
});
