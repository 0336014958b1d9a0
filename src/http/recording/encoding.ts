/**
 * A recorded response may be compressed for its first client (by the handler, or by a layer below
 * this one): whoever retries without accepting that gets it decoded (B-32).
 */
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import type { Answer, HeaderList } from "../answer.ts";

const decoders: Readonly<Record<string, (body: Uint8Array) => Buffer>> = {
  gzip: (body) => gunzipSync(body, { maxOutputLength }),
  "x-gzip": (body) => gunzipSync(body, { maxOutputLength }),
  deflate: (body) => inflateSync(body, { maxOutputLength }),
  br: (body) => brotliDecompressSync(body, { maxOutputLength }),
};
const maxOutputLength = 64 * 1_048_576;

/**
 * The answer in an encoding that `accept` (the `Accept-Encoding` field lines) allows. A body that
 * does not decode goes as it is, as its first client got it.
 */
export function acceptable(answer: Answer, accept: readonly string[]): Answer {
  const encoding = encodingOf(answer.headers);
  if (encoding === undefined || isAccepted(encoding, accept.join())) return answer;
  const body = decoded(encoding, answer.body);
  return body === undefined ? answer : { ...answer, headers: unencoded(answer.headers), body };
}

/**
 * The headers as the body is: without a `content-encoding` that it does not have yet, because the
 * platform is to compress it on its way out.
 */
export function encodedHeaders(headers: HeaderList, body: Uint8Array): HeaderList {
  const encoding = encodingOf(headers);
  if (encoding === undefined || decoders[encoding] === undefined) return headers;
  return decoded(encoding, body) === undefined ? unencoded(headers) : headers;
}

function encodingOf(headers: HeaderList): string | undefined {
  return headers.find(([name]) => name === "content-encoding")?.[1].toLowerCase();
}

function unencoded(headers: HeaderList): HeaderList {
  return headers.filter(([name]) => name !== "content-encoding");
}

function decoded(encoding: string, body: Uint8Array): Uint8Array | undefined {
  try {
    return decoders[encoding]?.(body);
  } catch {
    return undefined; // not what its header says, or more than may be unpacked
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
