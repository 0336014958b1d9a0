/**
 * A recorded response may be compressed for its first client (by the handler, or by a layer below
 * this one): whoever retries without accepting that gets it decoded (B-32).
 */
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import type { Answer } from "../answer.ts";

const decoders: Readonly<Record<string, (body: Uint8Array) => Buffer>> = {
  gzip: (body) => gunzipSync(body, { maxOutputLength }),
  "x-gzip": (body) => gunzipSync(body, { maxOutputLength }),
  deflate: (body) => inflateSync(body, { maxOutputLength }),
  br: (body) => brotliDecompressSync(body, { maxOutputLength }),
};
const maxOutputLength = 64 * 1_048_576;

/** The answer in an encoding that `accept` (the `Accept-Encoding` field lines) allows. */
export function acceptable(answer: Answer, accept: readonly string[]): Answer {
  const encoding = answer.headers.find(([name]) => name === "content-encoding")?.[1].toLowerCase();
  const decode = encoding === undefined ? undefined : decoders[encoding];
  if (encoding === undefined || decode === undefined || isAccepted(encoding, accept.join())) {
    return answer;
  }
  const headers = answer.headers.filter(([name]) => name !== "content-encoding");
  try {
    return { ...answer, headers, body: decode(answer.body) };
  } catch {
    return answer; // not what its header says, or too much: as its first client got it
  }
}

// RFC 9110, 12.5.3: without the field anything goes, but a retry without it may be a simple client.
function isAccepted(encoding: string, accept: string): boolean {
  const weights = new Map(
    accept.split(",").map((item) => {
      const [name = "", ...parameters] = item.toLowerCase().split(";");
      const weight = parameters.map((one) => /^\s*q=([\d.]+)\s*$/.exec(one)?.[1]).find(Boolean);
      return [name.trim(), Number(weight ?? 1)];
    }),
  );
  return (weights.get(encoding) ?? weights.get("*") ?? 0) > 0;
}
