/** One connection and several requests, interim responses, trailers, on every adapter on Node. */
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import { describe, expect, it } from "vitest";
import { idempotent } from "../../../src/adapters/node.ts";
import { createEngine } from "../../../src/engine/engine.ts";
import { memoryStore } from "../../../src/stores/memory.ts";
import { places, serve } from "../../support/places.ts";
import { until } from "../../support/poll.ts";
import { bytesOf, openRaw, portOf, rawRequest } from "../../support/raw-socket.ts";

const expecting = { expect: "100-continue", "content-length": "4" };
const interim = "HTTP/1.1 100 Continue\r\n\r\n";
const bodies = (bytes: string): readonly string[] => {
  const answers = bytes.split(/HTTP\/1.1 /).slice(1);
  return answers.map((answer) => answer.split("\r\n\r\n")[1] ?? "");
};

async function echo(req: AsyncIterable<unknown>, res: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  res.end(Buffer.concat(chunks));
}

describe.each(places)("on one connection to %s", (_name, place) => {
  it("a body that waits for 100 Continue is invited, once (B-22, B-112)", async () => {
    const served = await serve(place, echo);
    await using _ = served;
    for (const name of ["first", "replay"]) {
      const { socket, received, closed } = openRaw(served.port);
      socket.write(rawRequest({ headers: { ...expecting, connection: "close" } }));
      await until(() => received() === interim);
      socket.write("body");
      const answer = (await closed).slice(interim.length);
      expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\n/);
      expect(answer).not.toContain("100 Continue");
      expect(answer.endsWith("\r\n\r\nbody")).toBe(true);
      expect(answer.includes("idempotency-replayed")).toBe(name === "replay");
    }
  });

  it("requests in a row are answered in their order, each with its own (B-25, B-26)", async () => {
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    const served = await serve(place, async (req, res) => {
      runs += 1;
      if (req.headers["idempotency-key"] === "a") await gate.promise;
      await echo(req, res);
    });
    await using _ = served;
    const keys = ["a", "b", "c", "b", "a"];
    const { socket, closed } = openRaw(served.port);
    const requests = keys.map((key, index) => {
      const connection = index === keys.length - 1 ? "close" : "keep-alive";
      return rawRequest({ body: key, headers: { "idempotency-key": key, connection } });
    });
    socket.write(Buffer.concat(requests.slice(0, 4)));
    await until(() => runs === 3);
    gate.resolve();
    await until(() => served.events.filter((kind) => kind === "executed").length === 3);
    socket.write(Buffer.concat(requests.slice(4)));
    const answers = await closed;
    const got = bodies(answers);
    expect([got[0], got[1], got[2], got[4]]).toEqual(["a", "b", "c", "a"]);
    expect(["b", expect.stringContaining("in-progress")]).toContainEqual(got[3]);
    expect(runs).toBe(3);
  });
});

describe.each(places)("on a connection to %s", (_name, place) => {
  it("requests behind one whose client leaves are executed and recorded, too (B-76)", async () => {
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    const served = await serve(place, async (req, res) => {
      runs += 1;
      await gate.promise;
      await echo(req, res);
    });
    await using _ = served;
    const { socket } = openRaw(served.port);
    const type = { "content-type": "text/plain;charset=UTF-8" };
    const requests = ["a", "b"].map((key) =>
      rawRequest({ body: "body", headers: { ...type, "idempotency-key": key } }),
    );
    socket.write(Buffer.concat(requests));
    await until(() => runs === 2);
    socket.resetAndDestroy();
    gate.resolve();
    for (const key of ["a", "b"]) {
      const retry = await until(async () => {
        const response = await served.post(key);
        return response.status === 409 ? undefined : response;
      });
      expect([retry.headers.get("idempotency-replayed"), await retry.text()]).toEqual([
        "true",
        "body",
      ]);
    }
    expect(runs).toBe(2);
  });
  it("interim responses and trailers are not stored (B-112)", async () => {
    const served = await serve(place, (_req, res) => {
      res.writeEarlyHints({ link: "</style.css>; rel=preload" });
      res.writeHead(200, { Trailer: "X-Sum" });
      res.write("text");
      res.addTrailers({ "X-Sum": "1" });
      res.end();
    });
    await using _ = served;
    const request = { headers: { connection: "close" } };
    const [first, replay] = [
      await bytesOf(served.port, request),
      await bytesOf(served.port, request),
    ];
    expect(first).toMatch(/^HTTP\/1.1 103 Early Hints[^]*\r\nX-Sum: 1\r\n/);
    expect(replay).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(replay).not.toMatch(/x-sum|trailer/i);
  });
});

describe("a server that leaves 100 Continue to its handlers", () => {
  it("has its bodies invited once they are wanted, and others refused unsent (B-106)", async () => {
    const engine = createEngine({ store: memoryStore() });
    const options = { scope: "public", operation: "POST /r", maxRequestBytes: 100 } as const;
    const guarded = idempotent(engine, options, async (req, res) => echo(req, res));
    const serveOne = (...given: Parameters<typeof guarded>) => void guarded(...given);
    const server = createServer(serveOne).on("checkContinue", serveOne);
    const port = await portOf(server);
    const { socket, received, closed } = openRaw(port);
    socket.write(rawRequest({ headers: { ...expecting, connection: "close" } }));
    await until(() => received() === interim);
    socket.write("body");
    expect(await closed).toMatch(/\r\n\r\nbody$/);
    const large = openRaw(port);
    const headers = { ...expecting, "content-length": "101", connection: "close" };
    large.socket.write(rawRequest({ headers }));
    expect(await large.closed).toMatch(/^HTTP\/1.1 413 /);
    server.close();
  });
});
