/**
 * Clients that read slowly or not at all: the response waits for them, in bounded memory, and when
 * they leave the handler goes on (B-19, B-76, B-107).
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import compression from "compression";
import express from "express";
import { describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/express.ts";
import { listenExpress, openEngine } from "../support/express-server.ts";
import { places, serve } from "../support/places.ts";
import { until } from "../support/poll.ts";
import { openRaw, rawRequest } from "../support/raw-socket.ts";

// What no two sockets hold between them.
const chunks = 300;
const chunkBytes = 100_000;
const plain = { "content-type": "text/plain;charset=UTF-8" };

/** A body that tells how much of it has been asked for. */
function longBody() {
  let made = 0;
  async function* generate() {
    for (; made < chunks; made += 1) yield randomBytes(chunkBytes); // hard to compress
  }
  return { made: () => made, stream: () => Readable.from(generate(), { objectMode: false }) };
}

const endings: Readonly<Record<string, (res: ServerResponse, body: Readable) => unknown>> = {
  pipe: (res, body) => body.pipe(res),
  // Node refuses the rest of a pipeline whose client has left, once it cannot be recorded.
  pipeline: (res, body) => pipeline(body, res).catch(() => undefined),
  "writes that wait for drain": async (res, body) => {
    for await (const chunk of body) if (!res.write(chunk)) await once(res, "drain");
    res.end();
  },
};

/** Resolves when nothing more is made: the client holds the server up. */
async function heldUp(made: () => number): Promise<number> {
  let last = -1;
  await until(
    () => {
      const isStill = made() > 0 && made() === last;
      last = made();
      return isStill;
    },
    { everyMs: 100 },
  );
  return last;
}

describe.each(places)("a client that does not read on %s", (_name, place) => {
  it.each(Object.entries(endings))(
    "holds up %s; when it leaves the handler goes on (B-76, B-107)",
    async (_how, ending) => {
      const body = longBody();
      let runs = 0;
      const served = await serve(place, (_req, res) => {
        runs += 1;
        return ending(res, body.stream());
      });
      await using _ = served;
      const { socket } = openRaw(served.port);
      socket.pause();
      socket.write(rawRequest({ headers: plain, body: "body" }));
      expect(await heldUp(body.made)).toBeLessThan(chunks - 50);
      socket.resetAndDestroy();
      const code = async () => ((await (await served.post("k")).json()) as { code: string }).code;
      await until(async () => (await code()) === "result-omitted");
      expect(runs).toBe(1);
    },
  );
});

describe("a client that does not read, behind compression", () => {
  it.each(Object.entries(endings))("holds up %s, and may leave (B-76)", async (_how, ending) => {
    const body = longBody();
    let runs = 0;
    const maxRecordedBytes = 64 * 1_048_576;
    const guard = idempotent(openEngine(), { scope: "public", maxRecordedBytes });
    const app = express().use(compression({ threshold: 0 }));
    app.post("/r", guard, (_req, res) => {
      runs += 1;
      ending(res.type("text"), body.stream());
    });
    const post = await listenExpress(app);
    const { socket } = openRaw(post.port);
    socket.pause();
    const headers = { ...plain, "accept-encoding": "gzip" };
    socket.write(rawRequest({ headers, body: "body" }));
    expect(await heldUp(body.made)).toBeLessThan(chunks - 50);
    socket.resetAndDestroy();
    const retry = await until(async () => {
      const response = await post("/r", { headers: plain, body: "body" });
      return response.status === 409 ? undefined : response;
    });
    expect((await retry.arrayBuffer()).byteLength).toBe(chunks * chunkBytes);
    expect(runs).toBe(1);
  });
});
