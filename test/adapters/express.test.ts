/** What only Express has: its ways of ending a response, parsers and error handlers. */
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { NextFunction, Request, Response } from "express";
import { describe, expect, it } from "vitest";
import { expresses, guardExpress, listenExpress } from "../support/express-server.ts";
import { until } from "../support/poll.ts";

const file = join(tmpdir(), `latchkey-sent-${process.pid}.txt`);
writeFileSync(file, "a file");

type Ending = (res: Response, next: NextFunction) => unknown;
const endings: Readonly<Record<string, Ending>> = {
  "json(0)": (res) => res.json(0),
  "json(null)": (res) => res.json(null),
  send: (res) => res.status(201).location("/charges/1").send({ a: "ü" }),
  "send of bytes": (res) => res.send(Buffer.from([0, 255, 10, 13])),
  sendStatus: (res) => res.sendStatus(204),
  sendFile: (res) => res.sendFile(file),
  redirect: (res) => res.redirect(303, "/elsewhere"),
  "write and end": (res) => res.write("a") && res.end("b", "latin1"),
  pipe: (res) => Readable.from(["one ", "two"]).pipe(res),
  pipeline: (res) => void pipeline(Readable.from(["one ", "two"]), res),
  "two links": (res) => res.append("Link", "<a>").append("Link", "<b>").end(),
  "a late callback": (res) => setTimeout(() => res.status(404).end("not here"), 5),
};

describe.each(expresses)("ways to end a response on %s", (_name, framework) => {
  it.each(Object.entries(endings))(
    "%s: first as without, then replayed (B-78)",
    async (_, ending) => {
      let runs = 0;
      const handler = (_req: Request, res: Response, next: NextFunction) => {
        runs += 1;
        ending(res, next);
      };
      const app = framework().post("/plain", handler).post("/guarded", guardExpress(), handler);
      const post = await listenExpress(app);
      const seen = await Promise.all([post("/plain"), post("/guarded")]);
      const [plain, first] = await Promise.all(seen.map(shownBy));
      expect(first).toEqual(plain);
      const retry = await post("/guarded");
      expect(retry.headers.get("idempotency-replayed")).toBe("true");
      const replay = await shownBy(retry);
      expect([replay.status, replay.body, replay.location, replay.link, replay.type]).toEqual([
        plain?.status,
        plain?.body,
        plain?.location,
        plain?.link,
        plain?.type,
      ]);
      expect(runs).toBe(2);
    },
  );

  it("next(err) and its error handler decide by the status they answer (B-68, B-78)", async () => {
    let runs = 0;
    const app = framework()
      .post("/r", guardExpress(), (_req: Request, _res: Response, next: NextFunction) => {
        runs += 1;
        next(new Error(runs === 1 ? "broken" : "refused"));
      })
      .use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
        res.status(error.message === "broken" ? 503 : 402).send(error.message);
      });
    const post = await listenExpress(app);
    const answers: string[] = [];
    for (let index = 0; index < 3; index += 1) answers.push(await (await post("/r")).text());
    expect(answers).toEqual(["broken", "refused", "refused"]);
    expect(runs).toBe(2);
  });
});

async function shownBy(response: globalThis.Response) {
  const header = (name: string) => response.headers.get(name);
  const names = [...response.headers.keys()].filter((name) => name !== "date");
  return {
    status: response.status,
    body: Buffer.from(await response.arrayBuffer()).toString("latin1"),
    type: header("content-type"),
    location: header("location"),
    link: header("link"),
    names,
  };
}

describe.each(expresses)("requests on %s", (_name, framework) => {
  const json = { "content-type": "application/json" };

  it("are the same with a parser before or behind, and by value (B-22, B-55, B-62)", async () => {
    const shared = guardExpress();
    const echo = (req: Request, res: Response) => res.json(req.body);
    const app = framework()
      .post("/before", framework.json(), shared, echo)
      .post("/behind", shared, framework.json(), echo);
    const post = await listenExpress(app);
    for (const path of ["/before", "/behind"]) {
      const first = await post(path, { headers: json, body: '{"a":1,"b":[2]}' });
      expect(await first.json()).toEqual({ a: 1, b: [2] });
      const same = await post(path, { headers: json, body: '{ "b":[2],"a":1 }' });
      expect(same.headers.get("idempotency-replayed")).toBe("true");
      expect((await post(path, { headers: json, body: '{"a":2}' })).status).toBe(422);
      expect((await post(path, { headers: json })).status).toBe(422);
    }
  });

  it("are refused loudly when a parser has hidden their body (B-55)", async () => {
    const app = framework()
      .set("env", "test")
      .use(async (req, _res, next) => {
        await req.resume().toArray();
        next();
      })
      .post("/r", guardExpress(), (_req, res) => void res.end("done"));
    const post = await listenExpress(app);
    expect((await post("/r", { body: "a" })).status).toBe(500);
    expect((await post("/r")).status).toBe(200);
  });
});

describe.each(expresses)("a timeout on %s", (_name, framework) => {
  it("answers 504 while the handler goes on, and keeps its key (B-79)", async () => {
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    const app = framework()
      .use((_req, res, next) => {
        setTimeout(() => res.headersSent || res.status(504).send("too slow"), 50);
        next();
      })
      .post("/r", guardExpress(), async (_req, res) => {
        runs += 1;
        await gate.promise;
        res.status(201).json({ paid: true });
      });
    const post = await listenExpress(app);
    const first = await post("/r");
    expect([first.status, await first.text()]).toEqual([504, "too slow"]);
    expect((await post("/r")).status).toBe(409);
    gate.resolve();
    const retry = await until(async () => {
      const response = await post("/r");
      return response.status === 409 ? undefined : response;
    });
    expect([retry.status, await retry.json()]).toEqual([201, { paid: true }]);
    expect(retry.headers.get("idempotency-replayed")).toBe("true");
    expect(runs).toBe(1);
  });
});

describe.each(expresses)("layers around on %s", (_name, framework) => {
  it("of another origin may read the layer's headers on a replay (B-31, B-105)", async () => {
    const app = framework()
      .use((req, res, next) => {
        res.setHeader("access-control-allow-origin", req.get("origin") ?? "*");
        res.setHeader("access-control-expose-headers", "X-Own");
        next();
      })
      .post("/r", guardExpress(), (_req, res) => void res.end("done"));
    const post = await listenExpress(app);
    await post("/r", { headers: { origin: "https://a.example" } });
    const replay = await post("/r", { headers: { origin: "https://b.example" } });
    expect(replay.headers.get("access-control-allow-origin")).toBe("https://b.example");
    const exposed = replay.headers.get("access-control-expose-headers");
    expect(exposed).toBe("X-Own, idempotency-replayed, idempotency-original-date");
  });

  it("find their claim in req.idempotency (B-21)", async () => {
    const app = framework().post("/r", guardExpress(), (req, res) => {
      const { key, attempt, fence } = req.idempotency ?? {};
      res.json({ key, attempt, fence: typeof fence });
    });
    const post = await listenExpress(app);
    expect(await (await post("/r")).json()).toEqual({ key: "k", attempt: 1, fence: "number" });
  });
});
