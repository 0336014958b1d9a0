/** Layers around the guard on Express: compression, files, timeouts, CORS, clients that leave. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import compression from "compression";
import type { RequestHandler, Response as Answer } from "express";
import { describe, expect, it } from "vitest";
import { expresses, guardExpress, listenExpress } from "../support/express-server.ts";
import { until } from "../support/poll.ts";
import { openRaw, rawRequest } from "../support/raw-socket.ts";

// More than a socket takes at once, also when it is compressed.
const text = randomBytes(450_000).toString("base64");
const file = join(tmpdir(), `latchkey-layers-${process.pid}.txt`);
writeFileSync(file, text);
const plain = { "content-type": "text/plain;charset=UTF-8" };

const endings: Readonly<Record<string, (res: Answer) => unknown>> = {
  json: (res) => res.json(text),
  send: (res) => res.type("text").send(text),
  sendFile: (res) => res.sendFile(file),
  download: (res) => res.download(file),
  pipe: (res) => Readable.from(text.match(/.{1,50000}/g) ?? []).pipe(res.type("text")),
  pipeline: (res) => pipeline(Readable.from(text.match(/.{1,50000}/g) ?? []), res.type("text")),
};
const replayed = (response: Response) => response.headers.get("idempotency-replayed") === "true";

describe.each(expresses)("compression on %s", (_name, framework) => {
  const handler: RequestHandler = (_req, res) => void res.type("text").send("words ".repeat(1000));
  it.each<[string, (guard: RequestHandler) => RequestHandler[]]>([
    ["outside", (guard) => [compression(), guard]],
    ["inside", (guard) => [guard, compression()]],
  ])("%s leaves every client a body it can decode (B-32)", async (_where, chain) => {
    const orders = ["br identity gzip", "identity br", "gzip br identity"];
    for (const order of orders) {
      const encodings = order.split(" ");
      const app = framework().post("/r", ...chain(guardExpress()), handler);
      const post = await listenExpress(app);
      for (const [index, encoding] of encodings.entries()) {
        const response = await post("/r", { headers: { "accept-encoding": encoding } });
        const sent = response.headers.get("content-encoding");
        expect([encoding, null]).toContain(sent);
        expect(await response.text()).toBe("words ".repeat(1000));
        expect(replayed(response)).toBe(index > 0);
      }
    }
  });
});

describe.each(expresses)("a client that leaves on %s", (_name, framework) => {
  const layers: Readonly<Record<string, RequestHandler[]>> = {
    plain: [],
    compressed: [compression()],
  };
  const cases = Object.keys(endings).flatMap((ending) =>
    Object.keys(layers).flatMap((layer) =>
      ["before", "amid"].map((moment) => [moment, ending, layer] as const),
    ),
  );

  it.each(cases)("%s %s, %s, changes nothing (B-76)", async (moment, ending, layer) => {
    const gate = Promise.withResolvers<void>();
    let runs = 0;
    const app = framework().post(
      "/r",
      ...(layers[layer] ?? []),
      guardExpress(),
      async (_req, res) => {
        runs += 1;
        if (moment === "before") await gate.promise;
        endings[ending]?.(res);
      },
    );
    const post = await listenExpress(app);
    const { socket, received } = openRaw(post.port);
    socket.write(rawRequest({ headers: { ...plain, "accept-encoding": "gzip" }, body: "body" }));
    await until(() => (moment === "before" ? runs === 1 : received() !== ""));
    socket.resetAndDestroy();
    gate.resolve();
    const retry = await until(async () => {
      const response = await post("/r", { body: "body", headers: plain });
      return response.status === 409 ? undefined : response;
    });
    const body = await retry.text();
    expect(ending === "json" ? JSON.parse(body) === text : body === text).toBe(true);
    expect([replayed(retry), runs]).toEqual([true, 1]);
  });
});

describe.each(expresses)("a timeout in front on %s", (_name, framework) => {
  it.each(Object.keys(endings))(
    "leaves the handler its key, which ends by %s (B-79)",
    async (ending) => {
      const gate = Promise.withResolvers<void>();
      let runs = 0;
      const app = framework();
      app.use((_req, res, next) => {
        if (runs === 0) setTimeout(() => res.status(503).set("Retry-After", "1").send("slow"), 10);
        next();
      });
      app.post("/r", guardExpress(), async (_req, res) => {
        runs += 1;
        await gate.promise;
        endings[ending]?.(res);
      });
      const post = await listenExpress(app);
      const first = await post("/r");
      expect([first.status, await first.text()]).toEqual([503, "slow"]);
      expect((await post("/r")).status).toBe(409);
      gate.resolve();
      const retry = await until(async () => {
        const response = await post("/r");
        return response.status === 409 ? undefined : response;
      });
      const body = await retry.text();
      expect(ending === "json" ? JSON.parse(body) === text : body === text).toBe(true);
      expect([retry.status, replayed(retry), runs]).toEqual([200, true, 1]);
      expect(retry.headers.get("retry-after")).toBeNull();
    },
  );
});

describe.each(expresses)("requests of other origins on %s", (_name, framework) => {
  // As the cors package does it.
  const cors: RequestHandler = (req, res, next) => {
    res.setHeader("access-control-allow-origin", req.get("origin") ?? "*");
    res.vary("Origin");
    if (req.method !== "OPTIONS") return next();
    res.setHeader("access-control-allow-methods", "POST");
    res.setHeader("access-control-allow-headers", req.get("access-control-request-headers") ?? "");
    return void res.sendStatus(204);
  };
  const asked = {
    origin: "https://a.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "idempotency-key",
  };

  it("may send the key: no preflight is disturbed, wherever it is answered (B-105)", async () => {
    const chains = { outside: [cors, guardExpress()], inside: [guardExpress(), cors] };
    for (const chain of Object.values(chains)) {
      const app = framework().use(...chain);
      const post = await listenExpress(
        app.post("/r", (_req, res) => void res.json({ paid: true })),
      );
      for (const headers of [asked, { ...asked, "idempotency-key": "" }]) {
        const preflight = await post("/r", { method: "OPTIONS", headers });
        expect(preflight.status).toBe(204);
        expect(preflight.headers.get("access-control-allow-headers")).toBe("idempotency-key");
        expect(preflight.headers.get("access-control-allow-methods")).toBe("POST");
        expect([...preflight.headers.keys()].filter((name) => /idempoten/.test(name))).toEqual([]);
      }
      const first = await post("/r", { headers: { origin: asked.origin } });
      expect(first.headers.get("access-control-allow-origin")).toBe(asked.origin);
    }
  });

  it("may read a refusal's headers, too (B-105)", async () => {
    const app = framework()
      .use(cors)
      .post("/r", guardExpress(), (_req, res) => void res.end("done"));
    const post = await listenExpress(app);
    await post("/r", { body: "a" });
    const refused = await post("/r", { body: "b" });
    expect(refused.status).toBe(422);
    expect(refused.headers.get("access-control-expose-headers")).toBe("x-should-retry");
  });
});

describe.each(expresses)("handlers on %s", (_name, framework) => {
  it("keep res.locals, req.on and what else layers outside have set (B-19)", async () => {
    const seen: string[] = [];
    const app = framework().use((req, res, next) => {
      res.locals["user"] = "u1";
      req.on("close", () => seen.push("req close"));
      res.on("finish", () => seen.push("finish")).on("close", () => seen.push("close"));
      next();
    });
    app.post("/r", guardExpress(), (req, res) => {
      req.on("end", () => res.json(res.locals)).resume();
    });
    const post = await listenExpress(app);
    expect(await (await post("/r", { body: "a" })).json()).toEqual({ user: "u1" });
    await until(() => seen.length === 3);
    expect(seen.toSorted()).toEqual(["close", "finish", "req close"]);
  });
});
