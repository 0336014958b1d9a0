/**
 * Reads a Node request's body for the fingerprint and puts it back, so that the handler reads it
 * as if untouched.
 */
import type { IncomingMessage } from "node:http";
import type { Content } from "../../engine/values/fingerprint.ts";
import type { FingerprintOptions } from "../../http/policy.ts";
import { contentOfBytes } from "../../http/target.ts";

/**
 * The body's bytes; `undefined` when the request has none, `"too-large"` over the limit (the rest
 * stays unread).
 */
export async function peekBody(
  req: IncomingMessage,
  limitBytes: number,
): Promise<Uint8Array | undefined | "too-large" | "aborted"> {
  const length = req.headers["content-length"];
  if (length === undefined && req.headers["transfer-encoding"] === undefined) return undefined;
  if (Number(length ?? 0) > limitBytes) return "too-large";
  if (length === "0") return Buffer.alloc(0);
  return collect(req, limitBytes);
}

function collect(
  req: IncomingMessage,
  limitBytes: number,
): Promise<Uint8Array | "too-large" | "aborted"> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let total = 0;
    function finish(): void {
      req.off("readable", onReadable).off("error", onGone).off("close", onGone);
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
        finish();
        resolve("too-large");
      } else if (req.complete) {
        finish();
        const body = Buffer.concat(chunks);
        if (body.length > 0) req.unshift(body);
        resolve(body);
      }
    }
    function onGone(): void {
      finish();
      resolve("aborted");
    }
    req.on("readable", onReadable).on("error", onGone).on("close", onGone);
    onReadable();
  });
}

/** What a parser has left of a body; nothing where it has put files elsewhere. */
export function bodyLeftIn(request: { readonly body?: unknown }): unknown {
  return "file" in request || "files" in request ? undefined : request.body;
}

/**
 * The content of a body that a parser has read, by what it left. Throws `TypeError` when it left
 * nothing: that could differ unseen between two requests.
 */
export function parsedContent(
  { headers }: IncomingMessage,
  body: unknown,
  options: FingerprintOptions,
): Content {
  const mediaType = headers["content-type"] ?? "";
  const length = headers["content-length"];
  if (length === undefined && headers["transfer-encoding"] === undefined) return { kind: "none" };
  if (length === "0") return { kind: "bytes", bytes: new Uint8Array(0) };
  if (body === undefined) {
    throw new TypeError(
      "The request body was read before idempotent(), and not all of it was left as its body. " +
        "Put idempotent() before the parser.",
    );
  }
  if (typeof body === "string") return contentOfBytes(Buffer.from(body), mediaType, options);
  if (body instanceof Uint8Array) return contentOfBytes(body, mediaType, options);
  return { kind: "json", value: body };
}
