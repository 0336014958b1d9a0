/**
 * Claim, handler and response in one transaction, over real sockets through every adapter: the
 * COMMIT comes before the last byte, and what was not committed is never told as done.
 */
import type { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idempotent as onFetch, idempotencyOf } from "../../src/adapters/fetch.ts";
import type { Transactions } from "../../src/engine/transaction/transactions.ts";
import { createEngine } from "../../src/index.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { places, serve } from "../support/places.ts";
import type { Served } from "../support/places.ts";
import { startPgWorld } from "../support/transactions.ts";
import type { World } from "../support/transactions.ts";

let world: World;
beforeAll(async () => {
  world = await startPgWorld();
});
afterAll(() => world.close());

const codeIn = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { readonly code?: string }).code;
let keys = 0;
const newKey = (): string => `http-${(keys += 1)}`;
/** What the COMMIT refuses. */
const refused = (tx: unknown, key: string) =>
  (tx as Pool).query("INSERT INTO effects (key, note) VALUES ($1, 'n'), ($1, 'n')", [key]);

for (const [name, place] of places) {
  if (name === "node, SQLite") continue; // its records are in another file than the effects
  describe(`over ${name}`, () => {
    let served: Served;
    /** What the handler does behind its write. */
    let then: (respond: Respond) => unknown;
    interface Respond {
      readonly key: string;
      readonly tx: unknown;
      readonly send: (status: number, body: string, head?: "writeHead") => void;
      readonly begin: (chunk: string) => void;
    }
    beforeAll(async () => {
      const { transaction } = world;
      const listener: Parameters<typeof serve>[1] = async (_req, res, idempotency) => {
        const tx = idempotency?.transaction(transaction);
        const key = idempotency?.key ?? "";
        await world.effect(tx, key);
        await then({
          key,
          tx,
          begin: (chunk) => void res.write(chunk),
          send: (status, body, head) => {
            if (!res.headersSent) res.setHeader("location", "/orders/1");
            if (head === undefined) res.statusCode = status;
            else res.writeHead(status, { "x-head": "written" });
            res.end(body);
          },
        });
      };
      const engine = { store: world.store, storeTimeout: "5s" }; // others are at work here, too
      served = await serve({ ...place, engine }, listener, {
        transaction: transaction,
        maxRecordedBytes: 1000,
      });
    });
    afterAll(() => served.close());

    it.each([undefined, "writeHead"] as const)("commits, then answers (%s)", async (head) => {
      const key = newKey();
      then = ({ send }) => send(201, "made", head);
      const first = await served.post(key);
      expect([first.status, await first.text()]).toEqual([201, "made"]);
      expect([first.headers.get("location"), await world.effects(key)]).toEqual(["/orders/1", 1]);
      const replay = await served.post(key);
      expect([replay.status, await replay.text()]).toEqual([201, "made"]);
      expect([replay.headers.get("idempotency-replayed"), await world.effects(key)]).toEqual([
        "true",
        1,
      ]);
    });

    it("rolls back what ends with a 5xx: the key is free", async () => {
      const key = newKey();
      then = ({ send }) => send(502, "bank is down");
      expect((await served.post(key)).status).toBe(502);
      expect(await world.effects(key)).toBe(0);
      then = ({ send }) => send(201, "made");
      const second = await served.post(key);
      expect([second.status, second.headers.get("idempotency-attempt")]).toEqual([201, null]);
      expect(await world.effects(key)).toBe(1);
    });

    it("commits a refusal that the handler answers by itself: an outcome (B-71)", async () => {
      const key = newKey();
      then = ({ send }) => send(409, "no stock");
      for (const replayed of [null, "true"]) {
        const response = await served.post(key);
        expect([response.status, await response.text()]).toEqual([409, "no stock"]);
        expect(response.headers.get("idempotency-replayed")).toBe(replayed);
        expect(await world.effects(key)).toBe(1);
      }
    });

    it.each([undefined, "writeHead"] as const)("tells of a refused COMMIT (%s)", async (head) => {
      const key = newKey();
      then = async ({ tx, send }) => {
        await refused(tx, key);
        send(201, "made", head);
      };
      const response = await served.post(key);
      expect([response.status, response.headers.get("location")]).toEqual([503, null]);
      expect(await codeIn(response)).toBe("store-unavailable");
      expect(await world.effects(key)).toBe(0);
      then = ({ send }) => send(201, "made");
      expect((await served.post(key)).status).toBe(201);
    });

    it("cuts a response whose beginning has left before a refused COMMIT", async () => {
      const key = newKey();
      then = async ({ tx, begin, send }) => {
        begin("the first half of a long answer");
        await refused(tx, key);
        send(200, "the end");
      };
      const body = served.post(key).then((response) => response.text());
      await expect(body).rejects.toThrow();
      expect(await world.effects(key)).toBe(0);
    });

    it("commits a response that is too large to be kept: omitted, never run again", async () => {
      const key = newKey();
      then = ({ send }) => send(200, "x".repeat(2000));
      expect(await (await served.post(key)).text()).toBe("x".repeat(2000));
      expect(await codeIn(await served.post(key))).toBe("result-omitted");
      expect(await world.effects(key)).toBe(1);
    });

    it("refuses a duplicate while the first is at work", async () => {
      const key = newKey();
      const begun = Promise.withResolvers<void>();
      const end = Promise.withResolvers<void>();
      then = async ({ send }) => {
        begun.resolve();
        await end.promise;
        send(201, "made");
      };
      const first = served.post(key);
      await begun.promise;
      const code = await codeIn(await served.post(key)).finally(() => end.resolve());
      expect(code).toBe("in-progress");
      expect((await first).status).toBe(201);
      expect(await world.effects(key)).toBe(1);
    });
  });
}

describe("over fetch", () => {
  const post = (key: string): Request =>
    new Request("http://shop/orders", { method: "POST", headers: { "idempotency-key": key } });
  const options = { scope: "public", operation: "POST /orders" } as const;

  const unhurried = (text: string) =>
    new ReadableStream<Uint8Array>({
      pull: (sink) => {
        sink.enqueue(Buffer.from(text));
        sink.close();
      },
    });
  it.each([
    ["answers a refused COMMIT with 503", (text: string) => text, [503, null, "b"]],
    ["cuts a stream off before a refused COMMIT", unhurried, "cut"],
  ] as const)("%s", async (_, bodyOf, told) => {
    const engine = createEngine({ store: world.store });
    const { transaction } = world;
    const handler = async (request: Request): Promise<Response> => {
      await refused(idempotencyOf(request)?.transaction(transaction), "fetch");
      return new Response(bodyOf("made"), { status: 201, headers: { location: "/1", "x-a": "b" } });
    };
    const response = await onFetch(engine, handler, { ...options, transaction })(post(newKey()));
    const { status, headers } = response;
    const whole = [status, headers.get("location"), headers.get("x-a")];
    expect(
      await response.text().then(
        () => whole,
        () => "cut",
      ),
    ).toEqual(told);
    expect(await world.effects("fetch")).toBe(0);
  });

  it.each([
    ["commits before a redirect that is thrown", "NEXT_REDIRECT;push;/1;303;", [1, "true"]],
    ["rolls back a refusal that is thrown", "NEXT_HTTP_ERROR_FALLBACK;404", [0, null]],
  ])("%s, as in Next.js", async (_, digest, [effects, replayed]) => {
    const engine = createEngine({ store: world.store });
    const { transaction } = world;
    const key = newKey();
    let isFirst = true;
    const handler = async (request: Request): Promise<Response> => {
      await world.effect(idempotencyOf(request)?.transaction(transaction), key);
      if (isFirst) throw Object.assign(new Error("Next.js answers."), { digest });
      return new Response("made");
    };
    const guarded = onFetch(engine, handler, { ...options, transaction });
    await expect(guarded(post(key))).rejects.toThrow("Next.js answers.");
    expect(await world.effects(key)).toBe(effects);
    isFirst = false;
    const second = await guarded(post(key));
    expect([second.headers.get("idempotency-replayed"), await world.effects(key)]).toEqual([
      replayed,
      1,
    ]);
  });

  it("knows no transaction but that of the route", async () => {
    const engine = createEngine({ store: world.store });
    const transaction = world.transaction;
    const other: Transactions<unknown> = (work) => work(undefined);
    const handler = (request: Request) => {
      idempotencyOf(request)?.transaction(other);
      return new Response("made");
    };
    const guarded = onFetch(engine, handler, { ...options, transaction });
    await expect(guarded(post(newKey()))).rejects.toThrow(/option transaction/);
  });

  it("refuses a store that has no transactions, a wrong option, and an open route", async () => {
    const transaction = world.transaction;
    const handler = () => new Response("made");
    const engine = createEngine({ store: memoryStore() });
    const guarded = onFetch(engine, handler, { ...options, transaction });
    await expect(guarded(post(newKey()))).rejects.toThrow(/memory store/);
    const wrong = { ...options, transaction: {} as Transactions<unknown> };
    expect(() => onFetch(engine, handler, wrong)).toThrow(/transaction must be/);
    const open = { ...options, transaction, onStoreError: "open" } as const;
    expect(() => onFetch(engine, handler, open)).toThrow(/closed/);
  });
});
