/** Request bodies on Express: parsers before and behind the guard, and what each is compared by. */
import { gzipSync } from "node:zlib";
import type { Request, RequestHandler, Response as Answer } from "express";
import multer from "multer";
import { describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/express.ts";
import { expresses, guardExpress, listenExpress, openEngine } from "../support/express-server.ts";
import { openRaw, rawRequest } from "../support/raw-socket.ts";

interface Sent {
  readonly type?: string;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}
interface Kind {
  /** Two requests that are the same, and one that is not. */
  readonly same: readonly [Sent, Sent];
  readonly other: Sent;
  /** Whether it is the same by the bytes only, so that no parser may stand before the guard. */
  readonly parsers: readonly string[];
}

const json = "application/json";
const form = "application/x-www-form-urlencoded";
const multipart = "multipart/form-data; boundary=b";
const part = (name: string, value: string, more = "") =>
  `--b\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
const fields = (value: string) => `${part("a", value)}--b--\r\n`;
const upload = (value: string) =>
  `${part("a", "1")}${part("f", value, '; filename="f.txt"\r\ncontent-type: text/plain')}--b--\r\n`;
const twice = (sent: Sent): readonly [Sent, Sent] => [sent, sent];
const gzip = { "content-encoding": "gzip" };

const kinds: Readonly<Record<string, Kind>> = {
  JSON: {
    same: twice({ type: json, body: '{"a":1,"b":"\u00fc"}' }),
    other: { type: json, body: '{"a":2}' },
    parsers: ["before", "behind", "none"],
  },
  "JSON in another order": {
    same: [
      { type: json, body: '{"a":1,"b":2}' },
      { type: json, body: '{ "b": 2, "a": 1 }' },
    ],
    other: { type: json, body: "[]" },
    parsers: ["before", "behind", "none"],
  },
  "compressed JSON": {
    same: twice({ type: json, body: gzipSync('{"a":1}'), headers: gzip }),
    other: { type: json, body: gzipSync('{"a":2}'), headers: gzip },
    parsers: ["before", "behind", "none"],
  },
  "a form": {
    same: twice({ type: form, body: "a=1&b=2" }),
    other: { type: form, body: "a=1&b=3" },
    parsers: ["before", "behind", "none"],
  },
  text: {
    same: twice({ type: "text/plain", body: "words" }),
    other: { type: "text/plain", body: "other words" },
    parsers: ["before", "behind", "none"],
  },
  "raw bytes": {
    same: twice({ type: "application/octet-stream", body: Buffer.from([0, 255, 13, 10]) }),
    other: { type: "application/octet-stream", body: Buffer.from([0, 254, 13, 10]) },
    parsers: ["before", "behind", "none"],
  },
  "a multipart form": {
    same: twice({ type: multipart, body: fields("1") }),
    other: { type: multipart, body: fields("2") },
    parsers: ["before", "behind", "none"],
  },
  "an upload": {
    same: twice({ type: multipart, body: upload("in the file") }),
    other: { type: multipart, body: upload("in another file") },
    parsers: ["behind", "none"],
  },
  "an empty body": { same: twice({ body: "" }), other: { body: "a" }, parsers: ["none", "behind"] },
  "no body": { same: twice({}), other: { body: "" }, parsers: ["none", "before", "behind"] },
  chunks: {
    same: [
      {
        type: json,
        body: "3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n",
        headers: { "transfer-encoding": "chunked" },
      },
      { type: json, body: "5\r\n[1,2]\r\n0\r\n\r\n", headers: { "transfer-encoding": "chunked" } },
    ],
    other: {
      type: json,
      body: "3\r\n[1]\r\n0\r\n\r\n",
      headers: { "transfer-encoding": "chunked" },
    },
    parsers: ["before", "behind", "none"],
  },
};

const cases = Object.entries(kinds).flatMap(([name, kind]) =>
  kind.parsers.map((position) => [name, position, kind] as const),
);

/** Says what a handler found in its request; reads what no parser has. */
async function show(req: Request, res: Answer): Promise<void> {
  const { body, file } = req as Request & { file?: { buffer: Buffer } };
  const unread = req.readableEnded ? [] : ((await req.toArray()) as Buffer[]);
  const bytes = Buffer.concat(unread).toString("latin1");
  res.json({ body: body as unknown, file: file?.buffer.toString(), bytes });
}

describe.each(expresses)("on %s", (_name, framework) => {
  const upload = multer();
  const parsers = (): RequestHandler[] => [
    framework.json(),
    framework.urlencoded({ extended: true }),
    framework.text(),
    framework.raw(),
    upload.single("f"),
  ];
  const chainOf = (position: string, guard: RequestHandler): RequestHandler[] => {
    if (position === "none") return [guard];
    return position === "before" ? [...parsers(), guard] : [guard, ...parsers()];
  };

  it.each(cases)(
    "%s, its parser %s, reaches the handler as without, and is compared (B-22, B-55, B-62)",
    async (_kind, position, { same, other }) => {
      const nothing: RequestHandler = (_req, _res, next) => next();
      const app = framework().post("/r", ...chainOf(position, guardExpress()), show);
      const bare = framework().post("/r", ...chainOf(position, nothing), show);
      const ports = [(await listenExpress(bare)).port, (await listenExpress(app)).port] as const;
      const ask = async (port: number, { type, body, headers }: Sent) => {
        const { socket, closed } = openRaw(port);
        const own = { connection: "close", "content-type": type, ...headers };
        socket.write(rawRequest({ headers: own, ...(body === undefined ? {} : { body }) }));
        const [head = "", answer = ""] = (await closed).split("\r\n\r\n");
        return { status: head.slice(9, 12), isReplay: /idempotency-replayed/.test(head), answer };
      };
      const expected = await ask(ports[0], same[0]);
      expect(await ask(ports[1], same[0])).toEqual(expected);
      expect(expected.status).toBe("200");
      expect(await ask(ports[1], same[1])).toEqual({ ...expected, isReplay: true });
      expect((await ask(ports[1], other)).status).toBe("422");
    },
  );
});

describe.each(expresses)("refusals on %s", (_name, framework) => {
  const upload = multer();

  it("an upload that was parsed before is refused loudly, nothing runs (B-55)", async () => {
    let runs = 0;
    for (const parser of [upload.single("f"), upload.any()]) {
      const app = framework().post("/r", parser, guardExpress(), (_req, res) => {
        runs += 1;
        res.end();
      });
      const post = await listenExpress(app);
      const body = new FormData();
      body.set("f", new File(["in the file"], "f.txt"));
      const response = await post("/r", { body });
      expect(response.status).toBe(500);
      expect(await response.text()).toContain("Put idempotent() before the parser.");
    }
    expect(runs).toBe(0);
  });

  it("a body that somebody has begun to read is refused loudly (B-55)", async () => {
    const app = framework().use((req, _res, next) => {
      if (req.get("content-length") === "0") return next();
      req.once("data", () => {
        req.pause();
        next();
      });
      return undefined;
    });
    const post = await listenExpress(app.post("/r", guardExpress(), show));
    expect((await post("/r", { body: "a".repeat(500_000) })).status).toBe(500);
    expect((await post("/r")).status).toBe(200);
  });

  it("bodies over the limit get 413, and their connection goes on (B-106)", async () => {
    let runs = 0;
    const guard = idempotent(openEngine(), { scope: "public", maxRequestBytes: 1000 });
    const app = framework().post("/r", guard, (_req, res) => {
      runs += 1;
      res.end("done");
    });
    const { port } = await listenExpress(app);
    const chunk = `fa0\r\n${"x".repeat(4000)}\r\n`;
    const bodies: Readonly<Record<string, Sent>> = {
      "of known length": { body: "x".repeat(5_000_000) },
      "in chunks": {
        body: `${chunk.repeat(1000)}0\r\n\r\n`,
        headers: { "transfer-encoding": "chunked" },
      },
    };
    for (const [name, { body = "", headers }] of Object.entries(bodies)) {
      const { socket, closed } = openRaw(port);
      socket.write(rawRequest({ body, headers: { ...headers, "idempotency-key": `"${name}"` } }));
      socket.write(rawRequest({ body: "small", headers: { connection: "close" } }));
      const statuses = [...(await closed).matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status);
      expect(statuses).toEqual(["413", "200"]);
    }
    expect(runs).toBe(1);
  });
});
