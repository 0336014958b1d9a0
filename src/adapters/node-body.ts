/**
 * Reads a Node request's body for the fingerprint and puts it back, so that the handler reads it
 * as if untouched.
 */
import type { IncomingMessage } from "node:http";

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
