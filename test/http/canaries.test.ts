/**
 * Canaries in everything that a request and its response carry, and a search for their pieces in
 * what was handed to the store, in what lies in it, and in whatever a log could show (B-29, B-103,
 * I8).
 */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compressed, encrypted } from "../../src/engine/results/results.ts";
import type { EngineEvent, EngineOptions } from "../../src/index.ts";
import { places, serve } from "../support/places.ts";
import type { PlaceListener, PlaceOptions } from "../support/places.ts";
import { until } from "../support/poll.ts";
import { piecesFound, restingPlaces, shown } from "../support/resting-places.ts";
import type { RestingPlace } from "../support/resting-places.ts";

const canary = () => randomBytes(12).toString("hex");
const canaries = {
  key: canary(),
  scope: canary(),
  authorization: canary(),
  query: canary(),
  requestBody: canary(),
  cookie: canary(),
  location: canary(),
  responseBody: canary(),
  thrown: canary(),
};
type Canary = keyof typeof canaries;
const all = Object.keys(canaries) as readonly Canary[];

const closers: (() => Promise<unknown>)[] = [];
const warnings: Error[] = [];
const onWarning = (warning: Error) => void warnings.push(warning);
beforeEach(() => {
  warnings.length = 0;
  process.on("warning", onWarning);
});
afterEach(async () => {
  process.off("warning", onWarning);
  for (const close of closers.splice(0).toReversed()) await close();
});

const listener: PlaceListener = (_req, res) => {
  res.setHeader("set-cookie", `session=${canaries.cookie}`);
  res.setHeader("location", `/receipts/${canaries.location}`);
  res.end(`${"receipt ".repeat(300)}${canaries.responseBody}`);
};

async function open(engine: EngineOptions, options: PlaceOptions = {}, over = listener) {
  const [[, place] = ["", undefined]] = places;
  if (place === undefined) throw new Error("There is no place to serve.");
  const served = await serve({ ...place, engine }, over, options);
  closers.push(served.close);
  const seen: EngineEvent[] = [];
  served.engine.subscribe((event) => void seen.push(event));
  const post = (body = canaries.requestBody) =>
    served.post(canaries.key, {
      path: `/r?q=${canaries.query}`,
      body,
      headers: { "x-user": canaries.scope, authorization: `Bearer ${canaries.authorization}` },
    });
  return { ...served, post, seen };
}

/** The canaries of which a piece is to be found. */
function escaped(bytes: Buffer): readonly Canary[] {
  return all.filter((name) => piecesFound(bytes, canaries[name]).length > 0);
}

it("the search finds a canary in its disguises", () => {
  const { key } = canaries;
  for (const text of [key, key.slice(3, 11), `x${key}`]) {
    for (const encoding of ["utf8", "hex", "base64", "base64url"] as const) {
      if (text.length < key.length && encoding !== "utf8") continue;
      expect(escaped(Buffer.from(Buffer.from(text).toString(encoding)))).toEqual(["key"]);
    }
  }
  expect(escaped(Buffer.from(key.slice(0, 7)))).toEqual([]);
});

describe.each(restingPlaces)("at rest on %s", (_name, openPlace) => {
  let place: RestingPlace;
  beforeEach(async () => {
    place = await openPlace();
    closers.push(place.close);
  });

  it("is by default the response, and neither key, scope nor request (B-29, B-103)", async () => {
    const { post } = await open({ store: place.store });
    for (const replayed of [null, "true"]) {
      expect((await post()).headers.get("idempotency-replayed")).toBe(replayed);
    }
    expect((await post("another body")).status).toBe(422);
    expect(escaped(await place.bytes())).toEqual(["location", "responseBody"]);
  });

  it("is nothing of all that where results are encrypted", async () => {
    const codec = encrypted({ keys: { one: randomBytes(32) }, current: "one" });
    const store = { store: place.store, secret: randomBytes(32) };
    for (const results of [[codec], [compressed(), codec]]) {
      const { post } = await open({ ...store, results });
      const response = await post();
      expect(await response.text()).toContain(canaries.responseBody);
    }
    expect(escaped(await place.bytes())).toEqual([]);
  });
});

describe("events, warnings, errors and refusals", () => {
  const [[, openMemory] = ["", undefined]] = restingPlaces;
  const leaky = async (): Promise<Buffer> => {
    const { store } = (await openMemory?.()) ?? {};
    if (store === undefined) throw new Error("There is no place to rest.");
    const redact = () => {
      throw new Error(canaries.thrown);
    };
    const down = { ...store, claim: () => Promise.reject(new Error("no route to the store")) };
    const gate = Promise.withResolvers<void>();
    const slow = await open({ store }, {}, async (req, res) => {
      await gate.promise;
      return listener(req, res);
    });
    const sealing = { results: [encrypted({ keys: { one: randomBytes(32) }, current: "one" })] };
    const first = slow.post();
    await until(async () => (await store.list()).records.length === 1);
    const refusals = [await slow.post(), await slow.post("other")];
    gate.resolve();
    await first;
    const servers = [
      await open({ store: down }),
      await open({ store: down }, { onStoreError: "open" }),
      await open({ store, ...sealing }),
      await open({ store, secret: randomBytes(32) }, { redact }),
      await open({ store, secret: randomBytes(32) }, {}, (_req, res) => res.destroy()),
    ];
    for (const { post } of servers) {
      const response = await post().catch(() => undefined);
      if (response !== undefined && response.status >= 400) refusals.push(response);
    }
    const texts = refusals.map(async (refusal) => {
      return JSON.stringify([[...refusal.headers], await refusal.text()]);
    });
    expect(refusals.map(({ status }) => status)).toEqual([409, 422, 503, 503]);
    const kinds = [slow, ...servers].flatMap(({ events }) => events);
    const told = "bypassed conflict executed mismatch redact-failed released store-corrupt";
    expect([...new Set(kinds)].toSorted().join(" ")).toBe(`${told} store-unavailable`);
    const events = [slow, ...servers].flatMap(({ seen }) => seen);
    return Buffer.concat([shown(events), shown(warnings), shown(await Promise.all(texts))]);
  };

  it("hold no piece of a key, a scope, a body, a header or a thrown word (I8, B-15)", async () => {
    expect(escaped(await leaky())).toEqual([]);
  });
});
