/**
 * An idempotency layer as somebody would write it by hand, without Latchkey, in memory and on
 * `node:http`. As it stands it is sound; faults.ts replaces one part of it at a time, and the suite
 * must notice each.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { createTestRoute, urlSubject } from "../../../src/conformance/suites.ts";
import type { HttpSubject, Pairs, Play, TestRoute } from "../../../src/conformance/suites.ts";
import { canonicalJson } from "../../../src/engine/values/fingerprint.ts";
import { lineOf, passesOuter } from "../conformance/node-subjects.ts";

/** A recorded answer. */
export interface Kept {
  readonly status: number;
  readonly headers: Pairs;
  readonly body: Buffer;
}
/** What is known of a key. */
export interface Entry {
  readonly fingerprint: string;
  state: "running" | "done" | "free";
  kept?: Kept;
}
/** A refusal of the layer. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly title: string;
}
type Decision = "run" | Refusal | Kept;
export interface Asked {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly key: string;
  readonly body: Buffer;
}

/** The decisions of the layer, each of which can be got wrong. */
export interface Parts {
  /** Whether authentication stands in front of the layer; otherwise it stands behind it. */
  readonly authenticatesFirst: boolean;
  /** The key of the header's lines; `undefined` for what is no key. */
  readonly keyOf: (lines: readonly string[]) => string | undefined;
  /** The name of the record. */
  readonly nameOf: (asked: Asked) => string;
  readonly fingerprintOf: (asked: Asked) => string;
  /** Claims or answers. */
  readonly claim: (
    records: Map<string, Entry>,
    name: string,
    fingerprint: string,
  ) => Decision | Promise<Decision>;
  /** Frees a key for a retry. */
  readonly release: (records: Map<string, Entry>, name: string) => void;
  /** Which statuses are recorded. */
  readonly isKept: (status: number) => boolean;
  /** What is recorded of an answer; `undefined` frees the key instead. */
  readonly keep: (answer: Kept) => Kept | undefined;
  /** Records and answers, in an order of its own. */
  readonly settle: (record: () => void, send: () => void) => void;
  /** The client went away before its answer was recorded. */
  readonly onGone: (free: () => void) => void;
  /** The handler threw. */
  readonly onThrow: (free: () => void) => void;
  /** The answer broke off. */
  readonly onCut: (free: () => void, record: () => void) => void;
  /** Whether the first part of an answer is sent before the second is there. */
  readonly streams: boolean;
  readonly marks: Pairs;
  readonly problem: (refusal: Refusal, key: string) => Readonly<Record<string, unknown>>;
  readonly problemHeaders: Pairs;
}

const conflict = {
  status: 409,
  code: "in-progress",
  title: "A request is outstanding for this Idempotency-Key",
};
const reused = { status: 422, code: "key-reused", title: "Idempotency-Key is already used" };
const invalid = { status: 400, code: "key-invalid", title: "Idempotency-Key is invalid" };

const quoted =
  /^"((?:[ !#-[\]-~]|\\["\\])+)"(?:; *[a-z][a-z0-9]*(?:=(?:"[^"]*"|[^\s";,]+))?|;? )*$/;

function keyOf([line = "", ...more]: readonly string[]): string | undefined {
  const [, inner] = quoted.exec(line) ?? [];
  const bare = /^[!#-+\--~]+$/.test(line) ? line : undefined;
  const key = inner?.replaceAll(/\\(["\\])/g, "$1") ?? bare;
  const isKey = key !== undefined && key.trim() !== "" && key.length <= 255;
  return isKey && more.length === 0 ? key : undefined;
}

function claim(records: Map<string, Entry>, name: string, fingerprint: string): Decision {
  const known = records.get(name);
  if (known !== undefined && known.fingerprint !== fingerprint) return reused;
  if (known?.state === "running") return conflict;
  if (known?.state === "done" && known.kept !== undefined) return known.kept;
  records.set(name, { fingerprint, state: "running" });
  return "run";
}

/** The sound layer. */
export const sound: Parts = {
  authenticatesFirst: true,
  keyOf,
  nameOf: ({ req, key }) => JSON.stringify([lineOf(req, "x-user"), req.method, routeOf(req), key]),
  fingerprintOf: ({ req, body }) => {
    const { "content-type": mediaType, "content-length": length } = req.headers;
    const isNone = length === undefined && req.headers["transfer-encoding"] === undefined;
    return JSON.stringify([req.url, mediaType, isNone ? null : valueOf(body, mediaType)]);
  },
  claim,
  release: (records, name) => {
    const known = records.get(name);
    if (known?.state === "running") known.state = "free";
  },
  isKept: (status) => status < 500 && ![401, 403, 408, 421, 423, 425, 429].includes(status),
  keep: ({ headers, ...answer }) => {
    const named = /^(?:content-(?!length)|location|etag|last-modified|link)/i;
    return { ...answer, headers: headers.filter(([name]) => named.test(name)) };
  },
  settle: (record, send) => {
    record();
    send();
  },
  onGone: () => undefined,
  onThrow: (free) => free(),
  onCut: (free) => free(),
  streams: true,
  marks: [["Idempotency-Replayed", "true"]],
  problem: (refusal) => ({
    type: `https://hand-written.example/problems#${refusal.code}`,
    ...refusal,
  }),
  problemHeaders: [["Cache-Control", "no-store"]],
};

function routeOf({ url = "" }: IncomingMessage): string {
  return url.split("?")[0] === "/r" ? "/r" : "/r/:part";
}

function valueOf(body: Buffer, mediaType: string | undefined): string {
  try {
    if (mediaType === "application/json") return canonicalJson(JSON.parse(body.toString()));
  } catch {
    // Then it counts by its bytes.
  }
  return body.toString("base64");
}

/** The test route behind the layer, as a URL for the black box; `close` ends it. */
export async function serveHandWritten(
  change: Partial<Parts> = {},
): Promise<{ readonly subject: HttpSubject; readonly close: () => void }> {
  const handle = layer({ ...sound, ...change }, createTestRoute());
  const server = createServer((req, res) => void handle(req, res)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const subject = urlSubject(new URL(`http://127.0.0.1:${port}/r`), {
    callers: {
      first: [["X-User", "u-1"]],
      other: [["X-User", "u-2"]],
      rotated: [
        ["X-User", "u-1"],
        ["Authorization", "Bearer newer"],
      ],
      revoked: [
        ["X-User", "u-1"],
        ["Authorization", "Bearer revoked"],
      ],
    },
  });
  return { subject, close: () => server.close().closeAllConnections() };
}

function layer(
  parts: Parts,
  route: TestRoute,
): (req: IncomingMessage, res: ServerResponse) => Promise<void> {
  const records = new Map<string, Entry>();
  return async (req, res) => {
    if (parts.authenticatesFirst && !passesOuter(req, res)) return;
    res.setHeader("Access-Control-Expose-Headers", "Idempotency-Replayed, Retry-After");
    const lines = linesOf(req, "idempotency-key");
    const isProtected = /^(?:POST|PATCH)$/.test(req.method ?? "") && lines.length > 0;
    const key = parts.keyOf(lines);
    if (!isProtected) return bypass(route, req, res);
    if (key === undefined) return refuse(parts, res, { ...invalid, key: lines.join(", ") });
    const body = await buffer(req).catch(() => undefined);
    if (body === undefined) return;
    const asked = { req, res, key, body };
    const name = parts.nameOf(asked);
    const decision = await parts.claim(records, name, parts.fingerprintOf(asked));
    if (decision === "run") {
      if (!parts.authenticatesFirst && !passesOuter(req, res)) return;
      await run({ ...asked, parts, route, records, name });
    } else if ("code" in decision) refuse(parts, res, { ...decision, key });
    else replay(asked, decision, parts.marks);
  };
}

async function bypass(route: TestRoute, req: IncomingMessage, res: ServerResponse): Promise<void> {
  await route.listener(req, res).catch(() => void res.writeHead(500).end("failed"));
}

function refuse(parts: Parts, res: ServerResponse, refusal: Refusal & { key: string }): void {
  const { status, code, title, key } = refusal;
  const headers = [...parts.problemHeaders, ["X-Should-Retry", String(status === 409)]] as const;
  for (const [name, value] of headers) res.setHeader(name, value);
  if (status === 409) res.setHeader("Retry-After", "1");
  res.writeHead(status, { "content-type": "application/problem+json" });
  res.end(JSON.stringify(parts.problem({ status, code, title }, key)));
}

function replay({ req, res }: Asked, { status, headers, body }: Kept, marks: Pairs): void {
  const accepts = /gzip/.test(lineOf(req, "accept-encoding") ?? "");
  const isZipped = headers.some(([name]) => name.toLowerCase() === "content-encoding");
  res.statusCode = status;
  res.setHeader("Idempotency-Original-Date", new Date().toUTCString());
  for (const [name, value] of [...headers, ...marks]) {
    if (accepts || !/^content-encoding$/i.test(name)) res.appendHeader(name, value);
  }
  res.end(isZipped && !accepts ? gunzipSync(body) : body);
}

interface Run extends Asked {
  readonly parts: Parts;
  readonly route: TestRoute;
  readonly records: Map<string, Entry>;
  readonly name: string;
}

async function run(at: Run): Promise<void> {
  const { parts, route, records, name, req, res, body } = at;
  const free = (): void => parts.release(records, name);
  res.once("close", () => {
    if (!res.writableEnded) parts.onGone(free);
  });
  const instruction = lineOf(req, "x-verify");
  try {
    const play = await route.perform({ instruction, body: async () => body });
    await answer(at, play, free);
  } catch {
    parts.onThrow(free);
    res.writeHead(500).end("failed");
  }
}

async function answer(at: Run, play: Play, free: () => void): Promise<void> {
  const { parts, res } = at;
  const { status, headers, body, rest, hints, trailers } = play;
  const record = (whole: Buffer): void => {
    const kept = parts.isKept(status) ? parts.keep({ status, headers, body: whole }) : undefined;
    const entry = at.records.get(at.name);
    if (entry?.state !== "running") return; // freed, or settled by somebody else
    if (kept === undefined) return free();
    Object.assign(entry, { state: "done", kept });
  };
  if (hints !== undefined) res.writeEarlyHints({ link: hints });
  res.statusCode = status;
  for (const one of new Set(headers.map(([one]) => one))) res.removeHeader(one);
  for (const [one, value] of headers) res.appendHeader(one, value);
  if (trailers.length > 0) {
    res.setHeader("Trailer", trailers.map(([one]) => one).join());
    res.addTrailers(Object.fromEntries(trailers));
  }
  if (rest === undefined) {
    parts.settle(
      () => record(body),
      () => void res.end(body),
    );
    return;
  }
  if (parts.streams) await new Promise((resolve) => res.write(body, resolve) || resolve(undefined));
  const last = await rest();
  if (last === "cut") {
    parts.onCut(free, () => record(body));
    res.destroy();
    return;
  }
  parts.settle(
    () => record(Buffer.concat([body, last])),
    () => void res.end(parts.streams ? last : Buffer.concat([body, last])),
  );
}

/** The field lines of a header, as they came. */
function linesOf({ rawHeaders }: IncomingMessage, name: string): readonly string[] {
  return rawHeaders.filter(
    (_, index) => rawHeaders[index - 1]?.toLowerCase() === name && index % 2,
  );
}
