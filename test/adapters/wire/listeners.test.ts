/**
 * The first response of a protected listener, byte for byte on its socket, beside the same listener
 * without Latchkey (B-19): framing, order and spelling of headers, what becomes of the connection.
 */
import { createReadStream, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { places, serve, serveBare } from "../../support/places.ts";
import type { PlaceListener, Served } from "../../support/places.ts";
import { until } from "../../support/poll.ts";
import { bytesOf } from "../../support/raw-socket.ts";
import type { RawRequest } from "../../support/raw-socket.ts";

const file = join(tmpdir(), `latchkey-wire-${process.pid}.txt`);
writeFileSync(file, "a file ".repeat(20_000));

type Listener = (res: ServerResponse, req: IncomingMessage) => unknown;
const listeners: Readonly<Record<string, Listener>> = {
  "end()": (res) => res.end(),
  "end(callback)": (res) => res.end(() => undefined),
  "end(text)": (res) => res.end("text"),
  "end(text, encoding)": (res) => res.end("\u00fc", "latin1"),
  "end(text, callback)": (res) => res.end("text", () => undefined),
  "end(text, encoding, callback)": (res) => res.end("dGV4dA==", "base64", () => undefined),
  "end(bytes)": (res) => res.end(Buffer.from([0, 255, 13, 10])),
  "end(Uint8Array)": (res) => res.end(Uint8Array.from([1, 2])),
  'end("")': (res) => res.end(""),
  "end(null)": (res) => res.end(null),
  "write and end": (res) => {
    res.write("one ");
    res.write(Buffer.from("two "));
    res.end("three");
  },
  "write of single bytes": (res) => {
    for (const byte of "abc") res.write(byte);
    res.end();
  },
  'write("") and end': (res) => {
    res.write("");
    res.end("text");
  },
  "write of a known length": (res) => {
    res.setHeader("Content-Length", 7);
    res.write("one ");
    res.write("two");
    res.end();
  },
  "writeHead of a known length": (res) => {
    res.writeHead(200, { "Content-Length": 3 });
    res.write("one");
    res.end();
  },
  "writeHead(status)": (res) => res.writeHead(201).end("text"),
  "writeHead(status, reason)": (res) => res.writeHead(202, "Fine By Me").end("text"),
  "writeHead of an object": (res) => {
    res.setHeader("X-Before", "1");
    res.writeHead(201, { "X-CAPS": "1", "content-type": "a/b", "Set-Cookie": ["a=1", "b=2"] });
    res.end("text");
  },
  "writeHead of an object alone": (res) => {
    res.writeHead(201, "Made", { "X-CAPS": "1", "content-type": "a/b", Link: ["<a>", "<b>"] });
    res.end("text");
  },
  "writeHead of a flat array": (res) => {
    res.writeHead(200, ["Link", "<a>", "X-Between", "1", "Link", "<b>"]).end("text");
  },
  "writeHead of pairs": (res) => {
    if (res.getHeaderNames().length > 0) return res.end("text"); // Node takes them first only
    const pairs = [
      ["Link", "<a>"],
      ["X-Between", "1"],
      ["Link", "<b>"],
    ];
    return res.writeHead(200, pairs as never).end("text");
  },
  "writeHead over setHeader": (res) => {
    res.setHeader("X-One", "1");
    res.setHeader("x-two", "2");
    res.writeHead(200, { "x-one": "changed", "X-Three": "3" }).end("text");
  },
  "setHeaders of a Map": (res) => res.setHeaders(new Map([["X-One", "1"]])).end("text"),
  appendHeader: (res) => {
    res.appendHeader("Link", "<a>").appendHeader("link", "<b>").end("text");
  },
  "a status message": (res) => {
    res.statusCode = 402;
    res.statusMessage = "Show Me";
    res.end("text");
  },
  204: (res) => res.writeHead(204).end(),
  "204 with a body": (res) => res.writeHead(204).end("text"),
  304: (res) => res.writeHead(304, { etag: '"1"' }).end(),
  "303 with a location": (res) => res.writeHead(303, { location: "/there" }).end(),
  "no keep-alive": (res) => {
    res.shouldKeepAlive = false;
    res.end("text");
  },
  "Connection: close": (res) => res.writeHead(200, { Connection: "close" }).end("text"),
  "sendDate off": (res) => {
    res.sendDate = false;
    res.end("text");
  },
  "no chunks": (res) => {
    res.useChunkedEncodingByDefault = false;
    res.write("text");
    res.end();
  },
  "removed length": (res) => {
    res.removeHeader("content-length");
    res.end("text");
  },
  flushHeaders: async (res) => {
    res.setHeader("X-Early", "1").flushHeaders();
    await turn();
    res.end("text");
  },
  "cork and uncork": (res) => {
    res.cork();
    res.write("one ");
    res.write("two");
    res.uncork();
    res.end();
  },
  pipe: (res) => Readable.from(["one ", "two ", "three"]).pipe(res),
  "pipe of a file": (res) => createReadStream(file).pipe(res),
  pipeline: (res) => pipeline(Readable.from(["one ", "two"]), res),
  "pipeline of a generator": (res) =>
    pipeline(async function* parts() {
      yield "one ";
      await turn();
      yield "two";
    }, res),
  "a stream of the Web": (res) => Readable.fromWeb(new Blob(["web"]).stream() as never).pipe(res),
  "Readable.from of bytes": (res) => Readable.from([Buffer.from("a"), Buffer.from("bc")]).pipe(res),
  trailers: (res, { httpVersion, method }) => {
    if (httpVersion !== "1.1" || method === "HEAD") return res.end("text"); // none without chunks
    res.writeHead(200, { Trailer: "X-Sum" });
    res.write("text");
    res.addTrailers({ "X-Sum": "1" });
    return res.end();
  },
  "100, 102, 103 before 200": (res) => {
    res.writeContinue();
    res.writeProcessing();
    res.writeEarlyHints({ link: "</style.css>; rel=preload" });
    res.end("text");
  },
  "a late end": async (res) => {
    await turn();
    res.end("text");
  },
  "an end amid the body": async (res, req) => {
    res.write("started ");
    for await (const chunk of req) res.write(chunk);
    res.end();
  },
  "an end before the body is read": (res) => res.end("text"),
  "a cut before the first byte": (res) => res.destroy(),
  "a cut after the first bytes": (res) => {
    res.write("half");
    setImmediate(() => res.destroy());
  },
  "a second end": (res) => {
    res.end("first");
    res.end();
  },
  "a write after the end of what has begun": (res) => {
    res.on("error", () => undefined);
    res.write("first");
    res.end("second");
    res.write("third");
  },
  "a write after the end": (res) => {
    res.on("error", () => undefined);
    res.end("first");
    res.write("second");
  },
};

const requests: readonly (readonly [string, RawRequest])[] = [
  ["a body", { body: "the body" }],
  ["no body", {}],
  ["HTTP/1.0", { version: "1.0", body: "the body" }],
  ["chunks", { headers: { "transfer-encoding": "chunked" }, body: "3\r\nabc\r\n0\r\n\r\n" }],
  ["HEAD", { method: "HEAD" }],
  ["Connection: close", { headers: { connection: "close" } }],
];

const chosen: PlaceListener = (req, res) => {
  const listener = listeners[String(req.headers["x-ending"])];
  return listener === undefined ? res.end("farewell") : listener(res, req);
};

describe.each(places)("the first response on %s", (_name, place) => {
  const servers = new AsyncDisposableStack();
  let bare: { readonly port: number };
  let served: Served;
  beforeAll(async () => {
    bare = servers.use(await serveBare(place, chosen));
    served = servers.use(await serve(place, chosen, { methods: ["POST", "HEAD"] }));
  });
  afterAll(() => servers.disposeAsync());

  it.each(Object.keys(listeners))(
    "after %s is as without, byte for byte (B-19)",
    async (ending) => {
      for (const [name, { headers, ...request }] of requests) {
        const told = served.events.length;
        const key = JSON.stringify(`${ending}, ${name}`);
        const raw = {
          ...request,
          headers: { ...headers, "x-ending": ending, "idempotency-key": key },
        };
        const bytes = await bytesOf(served.port, raw);
        expect([name, bytes]).toEqual([name, await bytesOf(bare.port, raw)]);
        await until(() => served.events.length > told);
        expect(["executed", "released"]).toContain(served.events[told]);
      }
    },
  );
});
