/** HTTP/2 through Node's compatibility API: the adapters on Node, as far as their frameworks go. */
import { constants } from "node:http2";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, it } from "vitest";
import { until } from "../support/poll.ts";
import { closed, mounts, open } from "../support/http2-server.ts";
import type { Listener } from "../support/http2-server.ts";

async function echo(req: Http2ServerRequest, res: Http2ServerResponse): Promise<void> {
  const chunks = (await req.toArray()) as Buffer[];
  res.setHeader("content-type", "text/plain");
  res.end(`got ${Buffer.concat(chunks).toString()}`);
}

const all = Object.entries(mounts);

describe.each(all)("a request over HTTP/2 on %s", (_name, mount) => {
  it("executes once and is replayed, its body compared (B-22, B-26, B-55)", async () => {
    let runs = 0;
    const { post } = await open(mount, async (req, res) => {
      runs += 1;
      await echo(req, res);
    });
    const first = await post("body");
    expect([first.status, first.body]).toEqual([200, "got body"]);
    const replay = await post("body");
    expect([replay.status, replay.body]).toEqual([200, "got body"]);
    expect(replay.headers["content-type"]).toBe("text/plain");
    expect(replay.headers["idempotency-replayed"]).toBe("true");
    expect((await post("other")).status).toBe(422);
    expect((await post(undefined)).status).toBe(422);
    expect((await post("body", "other")).headers["idempotency-replayed"]).toBeUndefined();
    expect(runs).toBe(2);
  });

  it("has its body read whole, and limited (B-22, B-106)", async () => {
    const { post } = await open(mount, echo);
    const large = "x".repeat(500_000);
    expect((await post(large)).body).toBe(`got ${large}`);
    expect((await post(large)).headers["idempotency-replayed"]).toBe("true");
    expect((await post("x".repeat(1_100_000), "too-large")).status).toBe(413);
  });

  it.each<[string, Listener]>([
    ["writes", (_req, res) => (res.write("one "), res.end("two"))],
    ["writeHead", (_req, res) => res.writeHead(200, { "x-one": "1" }).end("one two")],
    ["pipe", (_req, res) => Readable.from(["one ", "two"]).pipe(res)],
    ["pipeline", (_req, res) => pipeline(Readable.from(["one ", "two"]), res)],
  ])("%s are recorded (B-78)", async (_how, listener) => {
    const { post } = await open(mount, listener);
    expect((await post("body")).body).toBe("one two");
    const replay = await post("body");
    expect([replay.body, replay.headers["idempotency-replayed"]]).toEqual(["one two", "true"]);
  });
});

describe.each(all)("a response over HTTP/2 on %s", (_name, mount) => {
  it("whose stream its client cancels is recorded (B-76)", async () => {
    const gates = { before: Promise.withResolvers<void>(), amid: Promise.withResolvers<void>() };
    const runs = { before: 0, amid: 0 };
    const { post, send } = await open(mount, async (req, res) => {
      const when = req.headers["idempotency-key"] as "before" | "amid";
      runs[when] += 1;
      if (when === "amid") res.write("early ");
      await gates[when].promise;
      await pipeline(Readable.from(["x".repeat(100_000)]), res);
    });
    for (const when of ["before", "amid"] as const) {
      const stream = send("body", when);
      let hasHead = false;
      stream.on("response", () => void (hasHead = true));
      await until(() => runs[when] === 1 && hasHead === (when === "amid"));
      stream.close(constants.NGHTTP2_CANCEL);
      await closed(stream);
      expect((await post("body", when)).status).toBe(409);
      gates[when].resolve();
      const retry = await until(async () => {
        const answer = await post("body", when);
        return answer.status === 409 ? undefined : answer;
      });
      expect(retry.body).toBe(`${when === "amid" ? "early " : ""}${"x".repeat(100_000)}`);
      expect(runs[when]).toBe(1);
    }
  });

  it("that fails frees the key (B-68, B-111)", async () => {
    let runs = 0;
    const { post, send } = await open(mount, (_req, res) => {
      runs += 1;
      if (runs === 1) return res.writeHead(503).end("down");
      if (runs > 2) return res.end("done");
      res.write("half");
      return setImmediate(() => res.destroy(new Error("cut")));
    });
    expect((await post("body")).status).toBe(503);
    const cut = send("body");
    cut.resume();
    await closed(cut);
    const retry = await until(async () => {
      const answer = await post("body");
      return answer.status === 409 ? undefined : answer;
    });
    expect([retry.body, runs]).toEqual(["done", 3]);
  });
});
