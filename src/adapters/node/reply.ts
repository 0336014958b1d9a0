/**
 * Answers of the layer on a Fastify reply: what the adapters of Fastify and of Nest on Fastify
 * share.
 */
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import type { Answer } from "../../http/answer.ts";
import { exposedHeaders } from "../../http/headers.ts";

/** What is needed of a Fastify reply. */
export interface FastifyReply {
  readonly raw: ServerResponse;
  readonly code: (status: number) => unknown;
  readonly header: (name: string, value: string | readonly string[]) => unknown;
  readonly getHeader: (name: string) => string | number | readonly string[] | undefined;
  readonly send: (payload?: unknown) => unknown;
}

/** Through the reply, so that hooks and headers of the layers outside apply to this exchange. */
export function sendReply(reply: FastifyReply, { status, headers, body }: Answer): void {
  reply.code(status);
  for (const name of new Set(headers.map(([one]) => one))) {
    const values = headers.filter(([one]) => one === name).map(([, value]) => value);
    reply.header(name, values.length === 1 ? String(values[0]) : values);
  }
  if (reply.getHeader("access-control-allow-origin") !== undefined) {
    const present = String(reply.getHeader("access-control-expose-headers") ?? "");
    reply.header("access-control-expose-headers", exposedHeaders(present, headers));
  }
  if ([204, 205, 304].includes(status) || body.length === 0) return void reply.send();
  const bytes = Buffer.from(body);
  if (headers.some(([name]) => name === "content-type")) return void reply.send(bytes);
  // Fastify gives bytes a type of its own, but streams none.
  reply.header("content-length", String(bytes.length));
  reply.send(Readable.from([bytes], { objectMode: false }));
}
