/**
 * Answers of the layer through a Fastify reply: the hooks and headers of the layers outside apply
 * to the exchange, while the body leaves as it was recorded, whatever `onSend` hooks make of it.
 */
import { isUtf8 } from "node:buffer";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { bodilessStatuses } from "../../http/answer.ts";
import type { Answer } from "../../http/answer.ts";
import { byName, withExposure } from "../../http/headers.ts";

type Value = string | number | readonly string[];
/** What the layer needs of a Fastify reply to answer. */
export interface FastifyReply {
  readonly raw: ServerResponse;
  readonly code: (status: number) => unknown;
  readonly header: (name: string, value: Value) => unknown;
  readonly getHeader: (name: string) => Value | undefined;
  readonly getHeaders: () => Readonly<Record<string, Value | undefined>>;
  readonly removeHeader: (name: string) => unknown;
  readonly send: (payload?: unknown) => unknown;
}

const answers = new WeakMap<FastifyReply, Answer>();

/** Sends an answer. */
export function sendReply(reply: FastifyReply, answer: Answer): void {
  sendAs(reply, answer, (bytes) => bytes);
}

/**
 * Sends an answer on a route with `restoreBody`: its other hooks get a string where a handler would
 * have sent one.
 */
export function sendRestored(reply: FastifyReply, answer: Answer): void {
  answers.set(reply, answer);
  sendAs(reply, answer, (bytes) => (isUtf8(bytes) ? bytes.toString() : bytes));
}

function sendAs(reply: FastifyReply, answer: Answer, payloadOf: (bytes: Buffer) => unknown): void {
  const { status, headers, body } = answer;
  reply.code(status);
  setHeaders(reply, answer);
  if (bodilessStatuses.has(status) || body.length === 0) return void reply.send();
  const bytes = Buffer.from(body);
  if (headers.some(([name]) => name === "content-type")) return void reply.send(payloadOf(bytes));
  // Fastify gives text and bytes a type of its own, but streams none.
  reply.header("content-length", bytes.length);
  return void reply.send(Readable.from([bytes], { objectMode: false }));
}

/**
 * The last `onSend` hook of a protected route: what others have made of a recorded body is in it
 * already, and must not be made of it twice.
 */
export function restoreBody(
  _request: unknown,
  reply: FastifyReply,
  payload: unknown,
  next: (error: null, payload: unknown) => void,
): void {
  const answer = answers.get(reply);
  if (answer === undefined || payload === undefined) return next(null, payload);
  if (payload instanceof Readable) payload.destroy(); // a compressing stream, say
  for (const name of ["content-encoding", "content-length"]) reply.removeHeader(name);
  setHeaders(reply, answer);
  return next(null, Buffer.from(answer.body));
}

function setHeaders(reply: FastifyReply, { headers }: Answer): void {
  const all = withExposure(headers, (name) => reply.getHeader(name));
  for (const [name, value] of byName(all)) reply.header(name, value);
}

const detached = new WeakSet<FastifyReply>();

/** Whether a timeout has answered through this reply, in place of its handler. */
export function isDetached(reply: FastifyReply): boolean {
  return detached.has(reply);
}

/** What is to be called when a timeout has answered: the handler finds its reply as it was. */
export function detacher(reply: FastifyReply): () => void {
  const before = reply.getHeaders();
  return () => {
    detached.add(reply);
    for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name);
    for (const [name, value] of Object.entries(before)) {
      if (value !== undefined) reply.header(name, value);
    }
  };
}
