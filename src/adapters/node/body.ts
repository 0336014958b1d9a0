/**
 * Reads a Node request's body for the fingerprint and puts it back, so that the handler reads it
 * as if untouched.
 */
import type { IncomingMessage } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import type { Content } from "../../engine/values/fingerprint.ts";
import type { HttpPolicy } from "../../http/policy.ts";
import { contentOfBytes } from "../../http/target.ts";

/**
 * The body's bytes; `undefined` when the request has none, `"too-large"` over the limit (the rest
 * is let go). `onWanted` is called before anything is waited for. Throws `TypeError` when somebody
 * else has begun to read.
 */
export async function peekBody(
  req: IncomingMessage,
  limitBytes: number,
  onWanted: () => void,
): Promise<Uint8Array | undefined | "too-large" | "aborted"> {
  const length = lengthOf(req);
  if (length === "none") return undefined;
  if (Number(length) > limitBytes) return "too-large";
  if (length === "0") return Buffer.alloc(0);
  if (req.readableDidRead) throw readBefore();
  onWanted();
  return collect(req, limitBytes);
}

/**
 * How long the body is, `"unknown"` or `"none"`, as the client sent it: a layer that decompresses
 * may have taken that off the headers. HTTP/2 tells otherwise of a body than by its length.
 */
function lengthOf(req: IncomingMessage): string {
  const [length] = fieldLines(req, "content-length");
  if (length !== undefined) return length;
  const stream = streamOf(req);
  if (stream !== undefined) return stream.endAfterHeaders ? "none" : "unknown";
  return fieldLines(req, "transfer-encoding").length > 0 ? "unknown" : "none";
}

/** The HTTP/2 stream of a request, where it came over one. */
export function streamOf(req: IncomingMessage): ServerHttp2Stream | undefined {
  return req.httpVersionMajor > 1 ? (Reflect.get(req, "stream") as ServerHttp2Stream) : undefined;
}

/** Whether all of a body has come. HTTP/2 calls what was read to its end or cancelled complete. */
function isWhole(req: IncomingMessage): boolean {
  const stream = streamOf(req);
  return stream === undefined ? req.complete : stream.readableEnded && !stream.aborted;
}

/** The field lines of a header as they came, before Node joins them. */
export function fieldLines({ rawHeaders }: IncomingMessage, name: string): readonly string[] {
  const lines: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === name) lines.push(rawHeaders[index + 1] ?? "");
  }
  return lines;
}

function collect(
  req: IncomingMessage,
  limitBytes: number,
): Promise<Uint8Array | "too-large" | "aborted"> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let total = 0;
    function finish(body: Uint8Array | "too-large" | "aborted"): void {
      req.off("readable", onReadable).off("error", onGone).off("close", onGone);
      resolve(body);
    }
    function onReadable(): void {
      // read(n) with exactly what is buffered never triggers "end", so the bytes can still be put
      // back.
      while (req.readableLength > 0) {
        const chunk = req.read(req.readableLength) as Buffer | null;
        if (chunk === null) break;
        chunks.push(chunk);
        total += chunk.length;
      }
      if (total > limitBytes) {
        finish("too-large");
        req.resume(); // or the connection would be stuck with it
      } else if (isWhole(req)) {
        const body = Buffer.concat(chunks);
        finish(body);
        if (body.length > 0) req.unshift(body);
      }
    }
    function onGone(): void {
      finish("aborted");
    }
    req.on("readable", onReadable).on("error", onGone).on("close", onGone);
    onReadable();
  });
}

/**
 * Where body parsers leave what they read: fields in `body`, uploads in `file` and `files`, and
 * some the bytes themselves in `rawBody`.
 */
export interface Parsed {
  readonly rawBody?: unknown;
  readonly body?: unknown;
  readonly file?: unknown;
  readonly files?: unknown;
}

/**
 * The content of a body that a parser has read, by what it left. Throws `TypeError` when it left
 * nothing, or uploads elsewhere: those could differ unseen between two requests. A parser may allow
 * more than the route: what it has read is as large as it was announced (B-106).
 */
export function parsedContent(
  req: IncomingMessage,
  parsed: Parsed,
  { fingerprint, maxRequestBytes }: Pick<HttpPolicy, "fingerprint" | "maxRequestBytes">,
): Content | "too-large" {
  const length = lengthOf(req);
  if (length === "none") return { kind: "none" };
  if (length === "0") return { kind: "bytes", bytes: new Uint8Array(0) };
  if (Number(length) > maxRequestBytes) return "too-large";
  const { body, rawBody, file, files } = parsed;
  const hasRaw = rawBody instanceof Uint8Array;
  if (!hasRaw && (body === undefined || isFilled(file) || isFilled(files))) throw readBefore();
  const bytes = hasRaw ? rawBody : bytesIn(body);
  if (bytes === undefined) return { kind: "json", value: body };
  if (bytes.length > maxRequestBytes) return "too-large";
  return contentOfBytes(bytes, req.headers["content-type"] ?? "", fingerprint);
}

function bytesIn(body: unknown): Uint8Array | undefined {
  if (typeof body === "string") return Buffer.from(body);
  return body instanceof Uint8Array ? body : undefined;
}

function isFilled(uploads: unknown): boolean {
  return typeof uploads === "object" && uploads !== null && Object.keys(uploads).length > 0;
}

function readBefore(): TypeError {
  return new TypeError(
    "The request body was read before idempotent(), and not all of it was left as its body. " +
      "Put idempotent() before the parser.",
  );
}
