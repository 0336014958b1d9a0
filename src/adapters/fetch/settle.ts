/**
 * How a protected exchange ends on the Web's types: whatever the handler returns or throws, the
 * claim is completed or released, and the client gets the response it would have got without the
 * layer, its end held until the record is written.
 */
import type { Answer, HeaderList } from "../../http/answer.ts";
import type { Execution } from "../../http/execution.ts";
import { saysOutcome } from "../../http/headers.ts";
import { createKeep } from "../../http/keep.ts";
import {
  addHeaders,
  copyOf,
  isHandedOver,
  isResponse,
  toResponse,
  withHeaders,
} from "./exchange.ts";
import { mayBeWhole, recordedHeaders, typedHeaders } from "./platform.ts";
import { cutOff, eventStream, readAhead, recordedStream } from "./stream.ts";
import { answerOfThrown } from "./thrown.ts";

/**
 * Ends the execution with the response that `respond` makes, and returns what is to be sent.
 * Releases the claim when `respond` throws, or makes something that is no response.
 */
export async function settleResponse<Res extends Response | undefined>(
  execution: Execution,
  request: Request,
  respond: () => Promise<Res>,
): Promise<Res | Response> {
  try {
    const response = await respond();
    if (isResponse(response)) return await settled(execution, response);
    // Bun's `server.upgrade()` leaves nothing to return (B-110).
    const isUpgrade = request.headers.has("upgrade");
    if (isUpgrade) await execution.settle({ status: 101, headers: [], body: undefined });
    else await execution.release();
    return response;
  } catch (error) {
    const answer = answerOfThrown(error, request);
    if (answer === undefined) await execution.release();
    else {
      if (answer.status >= 400) execution.fail();
      await execution.settle({ ...answer, body: new Uint8Array(0) });
    }
    throw error;
  }
}

async function settled(execution: Execution, response: Response): Promise<Response> {
  // Before the body is touched: some servers add a default content type of their own to either.
  const headers = [...response.headers];
  const { status, body } = response;
  if (isHandedOver(response)) {
    if (status === 0) await execution.release();
    else await execution.settle({ status: 101, headers, body: undefined });
    return response;
  }
  if (body?.locked === true) {
    throw new TypeError("The response has been read already. Return one that has not.");
  }
  if (body !== null) return settleBody(execution, { response, body, headers });
  const instead = await execution.settle({ status, headers, body: new Uint8Array(0) });
  if (instead !== undefined) return replaced(headers, instead);
  return withHeaders(response, execution.headers);
}

// What the layers outside have put on the response stays on the answer that leaves instead.
function replaced(headers: HeaderList, answer: Answer): Response {
  const stay = headers.filter(([name]) => !saysOutcome(name));
  return toResponse({ ...answer, headers: [...stay, ...answer.headers] });
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
  const { status } = response;
  const { maxRecordedBytes, headers: more } = execution;
  const settle = (kept: Uint8Array | undefined, own: HeaderList = headers) =>
    execution.settle({ status, headers: recordedHeaders(own, kept), body: kept });
  const sent = (content: Parameters<typeof copyOf>[1], own: HeaderList = headers) =>
    addHeaders(copyOf(response, content, own), more);

  const onEnd = async (kept: Uint8Array | undefined) => cutOff(await settle(kept));
  if (isEventStream(response)) return sent(eventStream(body, { onEnd }));
  const isStreamed = response.headers.has("transfer-encoding") || !mayBeWhole(body);
  const { whole, source } = await readAhead(body, isStreamed ? 0 : maxRecordedBytes);
  if (whole !== undefined) {
    const typed = typedHeaders(headers, whole);
    const instead = await settle(whole, typed);
    return instead === undefined ? sent(whole, typed) : replaced(headers, instead);
  }
  const keep = createKeep(maxRecordedBytes);
  const onError = () => execution.release();
  const isLengthKnown = response.headers.has("content-length");
  return sent(recordedStream(source, { keep, isLengthKnown, onEnd, onError }));
}

function isEventStream({ headers }: Response): boolean {
  return /^text\/event-stream\b/i.test(headers.get("content-type") ?? "");
}
