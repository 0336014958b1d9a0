/**
 * Recording of what a Koa handler left in its context, where the middleware stands: before the
 * layers outside change it, so that a replay passes through them as the first response did.
 */
import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import type { Answer } from "../../http/answer.ts";
import { saysOutcome } from "../../http/headers.ts";
import { headersOf, isBodiless, isEventStream } from "../node/head.ts";
import { recordedStream } from "./stream.ts";
import type { StreamRecording } from "./stream.ts";

/** How what is left in the context ends the claim. */
export interface Recording extends StreamRecording {
  /** Answers through the context. */
  readonly answer: (answer: Answer) => void;
}

/** The part of a Koa context that a response is in. */
export interface Left {
  readonly res: ServerResponse;
  readonly response: object;
  body: unknown;
  status: number;
}

/**
 * Records the body in the context; a stream is replaced by one whose end waits for the record.
 * Resolves to `false` for what only Koa knows how to send: no body, event streams, the Web's kinds.
 */
export async function recordContext(ctx: Left, recording: Recording): Promise<boolean> {
  const { res, body, status } = ctx;
  const headers = headersOf(res);
  if (isBodiless(res) || isEventStream(headers)) return false;
  if (isStream(body)) {
    replaceStream(ctx, recordedStream(body, { status, headers }, recording));
    return true;
  }
  const whole = wholeBody(body);
  if (whole === undefined) return false;
  const kept = whole.length > recording.limitBytes ? undefined : whole;
  const instead = await recording.settle({ status, headers, body: kept });
  if (instead === undefined) return true;
  for (const name of res.getHeaderNames()) if (saysOutcome(name)) res.removeHeader(name);
  recording.answer(instead);
  return true;
}

function isStream(body: unknown): body is Readable {
  return typeof (body as { pipe?: unknown } | null)?.pipe === "function";
}

/** The bytes that Koa will send for a body that is no stream. */
function wholeBody(body: unknown): Buffer | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === "string") return Buffer.from(body);
  if (Buffer.isBuffer(body)) return body;
  if (body instanceof Blob || body instanceof ReadableStream || body instanceof Response) {
    return undefined;
  }
  try {
    return Buffer.from(JSON.stringify(body));
  } catch {
    return undefined; // Koa will fail at it, too, and answer 500
  }
}

// Set as a body, it would lose its length and perhaps get another type (Koa 2 and 3 keep it here).
function replaceStream({ response }: Left, stream: Readable): void {
  Reflect.set(response, "_body", stream);
}
