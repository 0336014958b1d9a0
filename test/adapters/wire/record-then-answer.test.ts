/**
 * Record, then answer, on the bare socket (B-25): whatever the framing, no client has the response
 * whole before its record is written; and who looks at it meanwhile sees it as sent.
 */
import type { ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import { memoryStore } from "../../../src/stores/memory.ts";
import type { Store } from "../../../src/stores/store.ts";
import { places, serve } from "../../support/places.ts";
import type { Place } from "../../support/places.ts";
import { until } from "../../support/poll.ts";
import { openRaw, rawRequest } from "../../support/raw-socket.ts";

/** A store that writes no result before its gate opens. */
function gatedStore() {
  const gate = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const store = memoryStore();
  const complete: Store["complete"] = async (...args) => {
    asked.resolve();
    await gate.promise;
    return store.complete(...args);
  };
  return { store: { ...store, complete }, asked: asked.promise, open: () => gate.resolve() };
}

async function exchange(place: Place, listener: (res: ServerResponse) => unknown) {
  const { store, asked, open } = gatedStore();
  const gated = { ...place, engine: { store, storeTimeout: "10s" } };
  const served = await serve(gated, (_req, res) => listener(res));
  const { socket, received } = openRaw(served.port);
  socket.write(rawRequest({ body: "body" }));
  const bodyOf = () => received().split("\r\n\r\n").slice(1).join("\r\n\r\n");
  return { served, asked, open, received, bodyOf };
}

const late: Readonly<Record<string, (res: ServerResponse) => unknown>> = {
  setHeader: (res) => res.setHeader("x-late", "1"),
  appendHeader: (res) => res.appendHeader("x-late", "1"),
  removeHeader: (res) => res.removeHeader("content-type"),
  writeHead: (res) => res.writeHead(500),
};

interface Framing {
  readonly listener: (res: ServerResponse) => unknown;
  readonly before: string;
  readonly after: string;
}
const framings: Readonly<Record<string, Framing>> = {
  "in one piece": { listener: (res) => res.end("text"), before: "", after: "text" },
  "of known length": {
    listener: (res) => {
      res.setHeader("content-length", 8);
      res.write("one ");
      res.write("two ");
      res.end();
    },
    before: "one two",
    after: "one two ",
  },
  "of a length that writeHead tells": {
    listener: (res) => {
      res.writeHead(200, { "Content-Length": 8 }).write("one ");
      res.end("two ");
    },
    before: "one",
    after: "one two ",
  },
  "in chunks": {
    listener: (res) => {
      res.write("one ");
      res.write("two ");
      res.end();
    },
    before: "4\r\none \r\n4\r\ntwo \r\n",
    after: "4\r\none \r\n4\r\ntwo \r\n0\r\n\r\n",
  },
};

describe.each(places)("a response on %s that is being recorded", (_name, place) => {
  it.each(Object.entries(framings))("lacks its end, %s (B-25, B-109)", async (_name, framing) => {
    const { listener, before, after } = framing;
    const { served, asked, open, bodyOf } = await exchange(place, listener);
    await using _ = served;
    await asked;
    await until(() => bodyOf() === before);
    expect((await served.post("k")).status).not.toBe(200);
    expect(bodyOf()).toBe(before);
    open();
    await until(() => bodyOf() === after);
  });

  it("looks sent, and nothing can be added to it (B-19)", async () => {
    const seen: unknown[] = [];
    const { served, asked, open, received, bodyOf } = await exchange(place, (res) => {
      res.setHeader("content-type", "a/b");
      res.end("text");
      seen.push(res.headersSent, res.writableEnded);
      for (const act of Object.values(late)) {
        try {
          act(res);
        } catch (error) {
          seen.push((error as { code?: string }).code);
        }
      }
      res.statusCode = 500;
      res.flushHeaders();
      res.addTrailers({ "x-late": "1" });
      res.write("more");
      res.on("error", (error) => seen.push((error as { code?: string }).code));
      res.end("more");
    });
    await using _ = served;
    await asked;
    const refused = Object.values(late).map(() => "ERR_HTTP_HEADERS_SENT");
    expect(seen).toEqual([true, true, ...refused]);
    open();
    await until(() => bodyOf() === "text");
    expect(received()).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(received()).toMatch(/content-type: a\/b\r\n/);
    expect(received()).toMatch(/Content-Length: 4\r\n/);
    expect(received()).not.toMatch(/x-late/);
    await until(() => seen.length === 2 + refused.length + 2);
    expect(seen.slice(-2)).toEqual(["ERR_STREAM_WRITE_AFTER_END", "ERR_STREAM_WRITE_AFTER_END"]);
  });
});
