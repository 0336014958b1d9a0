/**
 * A Koa context whose response a timeout has sent, while its handler is still at work (B-79): the
 * handler finds it as it was, and what it leaves there is sent where it is only recorded.
 */
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";

interface Detached {
  readonly res: ServerResponse;
  readonly response: object;
  readonly message: string;
  readonly body: unknown;
}

// What Koa notes of a response beside its head (Koa 2 and 3).
const notes = ["_body", "_explicitStatus", "_explicitNullBody"] as const;

/** What is to be called when a timeout has answered. */
export function detacher({ response }: Pick<Detached, "response">): () => void {
  const before = notes.map((name) => [name, Reflect.get(response, name) as unknown] as const);
  return () => {
    for (const [name, value] of before) Reflect.set(response, name, value);
  };
}

/** Sends what only Koa knows how to send, as Koa would. */
export function sendDetached({ res, message, body }: Detached): void {
  const source = webSource(body);
  if (source !== undefined) source.pipe(res);
  else res.end(body === null ? "" : message);
}

function webSource(body: unknown): Readable | undefined {
  if (body instanceof Blob) return Readable.from(body.stream());
  if (body instanceof ReadableStream) return Readable.from(body);
  return body instanceof Response ? Readable.from(body.body ?? []) : undefined;
}
