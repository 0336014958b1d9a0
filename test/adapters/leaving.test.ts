/**
 * A client that leaves while its request is under way (B-76, B-77, B-110, B-111), on every adapter
 * on Node: the handler goes on, whatever it answers with, and its key never hangs.
 */
import { once } from "node:events";
import { createReadStream, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { places, serve } from "../support/places.ts";
import type { Place, PlaceListener, Served } from "../support/places.ts";
import { until } from "../support/poll.ts";
import { openRaw, rawRequest } from "../support/raw-socket.ts";

// More than a socket takes at once, less than is recorded.
const text = "0123456789".repeat(60_000);
const file = join(tmpdir(), `latchkey-leaving-${process.pid}.txt`);
writeFileSync(file, text);
const parts = () => Readable.from(text.match(/.{1,50000}/g) ?? []);

type Listener = (res: ServerResponse, req: IncomingMessage) => unknown;

const endings: Readonly<Record<string, Listener>> = {
  end: (res) => res.end(text),
  "write and end": (res) => {
    res.write(text.slice(0, 300_000));
    res.end(text.slice(300_000));
  },
  pipe: (res) => parts().pipe(res),
  "pipe of a file": (res) => createReadStream(file).pipe(res),
  pipeline: (res) => pipeline(parts(), res),
  "pipeline of a generator": (res) =>
    pipeline(async function* generate() {
      yield* parts();
    }, res),
  "writes that wait for drain": async (res) => {
    for await (const part of parts()) if (!res.write(part)) await once(res, "drain");
    res.end();
  },
  "writes that wait for their callbacks": async (res) => {
    for await (const part of parts()) {
      await new Promise<void>((resolve, reject) => {
        res.write(part, (error) => (error ? reject(error) : resolve()));
      });
    }
    await new Promise<void>((resolve) => void res.end(() => resolve()));
  },
  "a stream that is destroyed with its client, as by on-finished": (res, { socket }) => {
    const stream = createReadStream(file);
    socket.once("close", () => stream.destroy());
    stream.pipe(res);
  },
};

/** What the listeners in a test wait for, and what happened in them. */
interface Stage {
  readonly gate: PromiseWithResolvers<void>;
  runs: number;
  failed: unknown;
}

describe.each(places)("a client that leaves on %s", (_name, place) => {
  const stages = new Map<string, Stage>();
  let served: Served;
  const listener: PlaceListener = async (req, res) => {
    const { "x-ending": ending, "x-moment": moment, "x-stage": name } = req.headers;
    const stage = stages.get(String(name));
    if (stage === undefined) throw new Error("There is no such stage.");
    stage.runs += 1;
    if (moment === "before") await stage.gate.promise;
    try {
      await endings[String(ending)]?.(res, req);
    } catch (error) {
      stage.failed = error;
      throw error;
    }
  };
  beforeAll(async () => void (served = await serve(place, listener)));
  afterAll(() => served.close());

  async function leave(ending: string, moment: string, how: "destroy" | "resetAndDestroy") {
    const name = `${ending} ${moment} ${how}`;
    const stage: Stage = { gate: Promise.withResolvers(), runs: 0, failed: undefined };
    stages.set(name, stage);
    const headers = { "x-ending": ending, "x-moment": moment, "x-stage": name };
    const key = JSON.stringify(name);
    const { socket, received } = openRaw(served.port);
    const sent = { ...headers, "idempotency-key": key, "content-type": "text/plain;charset=UTF-8" };
    socket.write(rawRequest({ headers: sent, body: "body" }));
    if (moment === "amid") {
      await until(() => received().length > 0);
      socket.pause(); // so that the server is held up
    }
    await until(() => stage.runs === 1);
    socket[how]();
    stage.gate.resolve();
    const retry = await until(async () => {
      const response = await served.post(key, { headers });
      return response.status === 409 ? undefined : response;
    });
    const isWhole = (await retry.text()) === text;
    const isReplay = retry.headers.get("idempotency-replayed") === "true";
    return { isWhole, isReplay, runs: stage.runs, failed: stage.failed };
  }
  const unchanged = { isWhole: true, isReplay: true, runs: 1, failed: undefined };

  it.each(Object.keys(endings))("before %s changes nothing (B-76)", async (ending) => {
    expect(await leave(ending, "before", "destroy")).toEqual(unchanged);
    expect(await leave(ending, "before", "resetAndDestroy")).toEqual(unchanged);
  });

  it.each(Object.keys(endings))("amid %s changes nothing (B-76)", async (ending) => {
    expect(await leave(ending, "amid", "destroy")).toEqual(unchanged);
    expect(await leave(ending, "amid", "resetAndDestroy")).toEqual(unchanged);
  });
});

/** One exchange whose handler is the test's, and what retries get. */
async function open(
  place: Place,
  listener: (res: ServerResponse, req: IncomingMessage) => unknown,
) {
  let runs = 0;
  const served = await serve(place, (req, res) => {
    runs += 1;
    return listener(res, req);
  });
  const { socket, received } = openRaw(served.port);
  const headers = { "content-type": "text/plain;charset=UTF-8" };
  socket.write(rawRequest({ headers, body: "body" }));
  await until(() => runs === 1);
  const outcome = async (): Promise<string> => {
    const response = await until(async () => {
      const retry = await served.post("k");
      const isRunning = retry.status === 409 && retry.headers.has("retry-after");
      return isRunning ? undefined : retry;
    });
    const answer = await response.text();
    return answer.startsWith("{") ? (JSON.parse(answer) as { code: string }).code : answer;
  };
  return { served, socket, received, outcome, runs: () => runs };
}

describe.each(places)("behind a client that left on %s", (_name, place) => {
  it.each(["with it", "long before it"])(
    "what is too large is omitted, %s (B-107)",
    async (when) => {
      const gate = Promise.withResolvers<void>();
      let pulled = 0;
      const exchange = await open(place, async (res) => {
        if (when !== "with it") await gate.promise;
        Readable.from(
          (async function* generate() {
            for (; pulled < 100; pulled += 1) yield Buffer.alloc(100_000);
          })(),
        ).pipe(res);
      });
      await using _ = exchange.served;
      if (when === "with it") await until(() => exchange.received().length > 0);
      exchange.socket.destroy();
      gate.resolve();
      expect(await exchange.outcome()).toBe("result-omitted");
      expect(exchange.runs()).toBe(1);
      expect(pulled).toBeLessThanOrEqual(when === "with it" ? 100 : 99); // nobody takes the rest
    },
  );

  it.each([true, false])(
    "an endless stream, destroyed with it: %j, is omitted (B-107)",
    async (isDestroyed) => {
      const exchange = await open(place, (res, req) => {
        const endless = new Readable({ read: () => void endless.push(Buffer.alloc(100_000)) });
        if (isDestroyed) req.socket.once("close", () => endless.destroy());
        endless.pipe(res);
      });
      await using _ = exchange.served;
      await until(() => exchange.received().length > 2_000_000);
      exchange.socket.destroy();
      expect(await exchange.outcome()).toBe("result-omitted");
      expect(exchange.runs()).toBe(1);
    },
  );
});

// On Nest the handler's request does not show it.
const telling = places.filter(([name]) => !name.startsWith("Nest"));
it.each(telling)(
  "what is piped behind what nobody took is recorded on %s",
  async (_name, place) => {
    const gate = Promise.withResolvers<void>();
    const exchange = await open(place, async (res, { socket }) => {
      await gate.promise;
      res.write(text.slice(0, 500_000));
      await until(() => socket.destroyed);
      Readable.from([text.slice(500_000)]).pipe(res);
    });
    await using _ = exchange.served;
    exchange.socket.resetAndDestroy();
    gate.resolve();
    expect((await exchange.outcome()) === text).toBe(true);
    expect(exchange.runs()).toBe(1);
  },
);

describe.each(places)("a client that left on %s", (_name, place) => {
  it("ends an event stream at once, which is omitted, begun or not (B-110)", async () => {
    for (const begun of [true, false]) {
      const closed = Promise.withResolvers<string>();
      const exchange = await open(place, (res) => {
        res.on("close", () => closed.resolve("closed"));
        if (begun) res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
        else res.setHeader("content-type", "text/event-stream");
      });
      await using _ = exchange.served;
      exchange.socket.destroy();
      expect(await closed.promise).toBe("closed");
      expect(await exchange.outcome()).toBe("result-omitted");
    }
  });

  it("leaves the key free if the body breaks off, whenever it does (B-111)", async () => {
    for (const when of ["before", "after"]) {
      const gate = Promise.withResolvers<void>();
      let runs = 0;
      const exchange = await open(place, (res) => {
        runs += 1;
        if (runs > 1) return res.end("second");
        const source = new Readable({ read: () => undefined });
        source.on("error", () => undefined);
        source.pipe(res);
        source.push("half");
        void gate.promise.then(() => source.destroy(new Error("cut")));
        return undefined;
      });
      await using _ = exchange.served;
      await until(() => exchange.received().includes("half"));
      if (when === "before") gate.resolve();
      exchange.socket.destroy();
      await until(
        async () => (await exchange.served.post("k")).status === 409 || when === "before",
      );
      gate.resolve();
      expect(await exchange.outcome()).toBe("second");
    }
  });

  it("is told of to its handler after the end, once (B-76)", async () => {
    const gate = Promise.withResolvers<void>();
    const order: string[] = [];
    const exchange = await open(place, async (res) => {
      res.on("close", () => order.push("close")).on("finish", () => order.push("finish"));
      await gate.promise;
      order.push(`${res.destroyed} ${res.closed} ${res.socket?.writable}`);
      res.end("done");
    });
    await using _ = exchange.served;
    exchange.socket.destroy();
    await until(async () => (await exchange.served.post("k")).status === 409);
    gate.resolve();
    expect(await exchange.outcome()).toBe("done");
    expect(order).toEqual(["false false true", "finish", "close"]);
  });
});

describe.each(places)("a server that cuts the connection on %s", (_name, place) => {
  it("by its handler, amid the body, leaves the key free (B-111)", async () => {
    let runs = 0;
    const exchange = await open(place, (res, req) => {
      runs += 1;
      if (runs > 1) return res.end("second");
      res.write("half");
      return setImmediate(() => req.socket.destroy());
    });
    await using _ = exchange.served;
    expect(await exchange.outcome()).toBe("second");
  });

  it("from outside, for a body that broke off, leaves the key free (B-111)", async () => {
    const begun = Promise.withResolvers<[ServerResponse, Readable]>();
    let runs = 0;
    const exchange = await open(place, (res) => {
      runs += 1;
      if (runs > 1) return res.end("second");
      const source = new Readable({ read: () => undefined });
      source.once("error", () => undefined).push("half");
      source.pipe(res);
      begun.resolve([res, source]);
      return undefined;
    });
    await using _ = exchange.served;
    const [res, source] = await begun.promise;
    source.destroy(new Error("cut"));
    await until(() => source.closed);
    res.destroy();
    expect(await exchange.outcome()).toBe("second");
  });

  const none = (): void => undefined;
  it.each<[string, (res: ServerResponse) => unknown, (res: ServerResponse) => unknown]>([
    ["the response", none, (res) => res.destroy()],
    ["the connection", none, (res) => res.req.socket.destroy()],
    ["a timeout of the handler's", (res) => res.req.socket.setTimeout(10), none],
  ])(
    "from outside, by %s, does not stop its handler (B-76, B-79)",
    async (_by, inside, outside) => {
      const begun = Promise.withResolvers<ServerResponse>();
      const gate = Promise.withResolvers<void>();
      const exchange = await open(place, async (res) => {
        res.write("half ");
        inside(res);
        begun.resolve(res);
        await gate.promise;
        res.end("whole");
      });
      await using _ = exchange.served;
      outside(await begun.promise);
      await until(() => exchange.socket.destroyed);
      expect((await exchange.served.post("k")).status).toBe(409);
      gate.resolve();
      expect(await exchange.outcome()).toBe("half whole");
      expect(exchange.runs()).toBe(1);
    },
  );
});
