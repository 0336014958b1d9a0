/** What the many forms of `write` and `end` were called with. */
import type { ServerResponse } from "node:http";

export type Callback = (error?: Error | null) => void;

/** Whether it is a piece of body. */
export function isChunk(chunk: unknown): chunk is string | Uint8Array {
  return typeof chunk === "string" || chunk instanceof Uint8Array;
}

/** Whether Node throws on ending a response so. */
export function isRefused(res: ServerResponse, chunk: unknown): boolean {
  const isNone = chunk === undefined || chunk === null || typeof chunk === "function";
  if (!isNone && !isChunk(chunk)) return true;
  return !res.headersSent && !(res.statusCode >= 100 && res.statusCode <= 999);
}

/** The bytes of a piece of body; strings in the encoding that was given, or UTF-8. */
export function bytesOf(chunk: string | Uint8Array, encoding: unknown): Buffer {
  if (typeof chunk === "string") {
    return Buffer.from(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8");
  }
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

/** The callback among the arguments, wherever it stands. */
export function callbackIn(...args: readonly unknown[]): Callback | undefined {
  return args.find((one): one is Callback => typeof one === "function");
}
