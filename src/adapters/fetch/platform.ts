/**
 * Where the Web's types differ between the platforms that have them, in what a protected response
 * must keep: how a body that was made of bytes shows, and what becomes of it on its way out.
 */
import type { HeaderList } from "../../http/answer.ts";
import { encodedHeaders } from "../../http/recording/encoding.ts";
import { isMadeOfBytes } from "./stream.ts";

const platform: string = globalThis.navigator?.userAgent ?? "";
const isBun = platform.startsWith("Bun/");

/** Workers compress on the way out what has a `content-encoding`, unless they are told not to. */
export const isWorkers: boolean = platform === "Cloudflare-Workers";

let marksBytes: boolean | undefined;

/**
 * Whether a body may be one that the platform made of bytes it has. Node and Workers tell those
 * from a handler's stream; Bun and Deno do not.
 */
export function mayBeWhole(body: ReadableStream<Uint8Array>): boolean {
  marksBytes ??= isMadeOfBytes(new Response("x").body);
  return !marksBytes || isMadeOfBytes(body);
}

/**
 * The headers of a body that is known in whole, as its client is to see them: Bun adds the type of
 * a body only while it sends it, and would take text for bytes once it has been read.
 */
export function typedHeaders(headers: HeaderList, body: Uint8Array): HeaderList {
  const isTyped = !isBun || body.length === 0 || headers.some(([name]) => name === "content-type");
  return isTyped ? headers : [...headers, ["content-type", guessedType(body)]];
}

function guessedType(body: Uint8Array): string {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(body);
    return "text/plain;charset=utf-8";
  } catch {
    return "application/octet-stream"; // what Bun says of bytes
  }
}

/** The headers as the record is to have them: what Workers are still to compress is not yet so. */
export function recordedHeaders(headers: HeaderList, body: Uint8Array | undefined): HeaderList {
  return isWorkers && body !== undefined ? encodedHeaders(headers, body) : headers;
}
