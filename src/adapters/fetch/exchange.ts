/**
 * One protected exchange on the Web's request and response: what the fetch and hono adapters share.
 */
import type { Answer, HeaderList } from "../../http/answer.ts";
import type { Execution } from "../../http/execution.ts";
import { exposedHeaders } from "../../http/headers.ts";
import { createKeep } from "../../http/keep.ts";
import { eventStream, isMadeOfBytes, readAhead, recordedStream } from "./stream.ts";

const bodilessStatuses: ReadonlySet<number> = new Set([204, 205, 304]);

/** The response with more headers; a copy, since a redirect or a fetched one cannot be changed. */
export function withHeaders(response: Response, more: HeaderList): Response {
  if (more.length === 0) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of more) headers.set(name, value);
  if (headers.has("access-control-allow-origin")) {
    const present = headers.get("access-control-expose-headers") ?? "";
    headers.set("access-control-expose-headers", exposedHeaders(present, more));
  }
  const { status, statusText, body } = response;
  return new Response(body, { status, statusText, headers });
}

/** The body of an answer for a `Response`: `null` where it is empty or its status allows none. */
export function bodyOf({ status, body }: Answer): Uint8Array<ArrayBuffer> | null {
  return bodilessStatuses.has(status) || body.length === 0 ? null : Uint8Array.from(body);
}

/** An answer of the layer as a response. */
export function toResponse(answer: Answer): Response {
  const { status } = answer;
  const headers = answer.headers.map(([name, value]): [string, string] => [name, value]);
  return new Response(bodyOf(answer), { status, headers });
}

/**
 * The request's bytes, read from a clone, so that the handler gets the very request it was called
 * with, its body unread. `undefined` when it has none, `"too-large"` over the limit.
 */
export async function peekBody(
  request: Request,
  limitBytes: number,
): Promise<Uint8Array | undefined | "too-large" | "aborted"> {
  if (request.body === null) return undefined;
  if (Number(request.headers.get("content-length") ?? 0) > limitBytes) return "too-large";
  const keep = createKeep(limitBytes);
  try {
    for await (const chunk of request.clone().body ?? []) {
      keep.add(chunk);
      if (keep.isOver()) return "too-large";
    }
  } catch {
    return "aborted"; // the client went away while it was sending
  }
  return keep.body();
}

/**
 * Ends the execution with the response that `respond` makes, and returns what is to be sent: the
 * same, its last byte held until the record is written. Releases the claim when `respond` throws.
 */
export async function settleResponse(
  execution: Execution,
  respond: () => Promise<Response>,
): Promise<Response> {
  let response: Response;
  try {
    response = await respond();
  } catch (error) {
    await execution.release();
    throw error;
  }
  // Before the body is touched: some servers add a default content type of their own to either.
  const headers = [...response.headers];
  const { status, body } = response;
  if (body?.locked === true) {
    await execution.release();
    throw new TypeError("The response has been read already. Return one that has not.");
  }
  if (body !== null) return settleBody(execution, { response, body, headers });
  await execution.settle({ status, headers, body: new Uint8Array(0) });
  return withHeaders(response, execution.headers);
}

interface WithBody {
  readonly response: Response;
  readonly body: ReadableStream<Uint8Array>;
  readonly headers: HeaderList;
}

async function settleBody(
  execution: Execution,
  { response, body, headers }: WithBody,
): Promise<Response> {
  const { status, statusText } = response;
  const sent = (content: ReadableStream | Uint8Array<ArrayBuffer>): Response => {
    const pairs = headers.map(([name, value]): [string, string] => [name, value]);
    const copy = new Response(content, { status, statusText, headers: pairs });
    return withHeaders(copy, execution.headers);
  };
  const onEnd = (kept: Uint8Array | undefined) => execution.settle({ status, headers, body: kept });
  if (response.headers.get("content-type")?.startsWith("text/event-stream") === true) {
    return sent(eventStream(body, { onEnd }));
  }
  const isStreamed = response.headers.has("transfer-encoding") || !isMadeOfBytes(body);
  const { whole, read } = await readAhead(body, isStreamed ? 0 : execution.maxRecordedBytes);
  if (whole !== undefined) {
    await onEnd(whole);
    return sent(whole);
  }
  const stream = recordedStream(read, {
    keep: createKeep(execution.maxRecordedBytes),
    onEnd,
    onError: () => execution.release(),
  });
  return sent(stream);
}
