/**
 * What a protected exchange reads and answers with on the Web's request and response; the fetch and
 * hono adapters share it.
 */
import type { Answer, HeaderList } from "../../http/answer.ts";
import { withExposure } from "../../http/headers.ts";
import { createKeep } from "../../http/keep.ts";
import { isWorkers } from "./platform.ts";

const bodilessStatuses: ReadonlySet<number> = new Set([204, 205, 304]);

// Workers' word for a body that has its `content-encoding` already.
const encoded: object = isWorkers ? { encodeBody: "manual" } : {};

/** The response with more headers; a copy, since a redirect or a fetched one cannot be changed. */
export function withHeaders<Res>(response: Res, more: HeaderList): Res | Response {
  if (more.length === 0 || !isResponse(response) || isHandedOver(response)) return response;
  return addHeaders(copyOf(response, response.body, [...response.headers]), more);
}

/** A response with another body and these headers alone. */
export function copyOf(
  response: Response,
  body: ReadableStream | Uint8Array<ArrayBuffer> | null,
  headers: HeaderList,
): Response {
  // Only so do Workers keep what stands beside the headers: whether the body is compressed yet.
  if (isWorkers) return new Response(body, response);
  const { status, statusText } = response;
  return new Response(body, { statusText, ...initOf({ status, headers }) });
}

/** Whether a handler returned a response; by shape, since servers replace the global class. */
export function isResponse(value: unknown): value is Response {
  const { status, headers } = (value ?? {}) as Partial<Response>;
  return typeof status === "number" && headers !== undefined;
}

/** Sets headers of the layer on a response of its own, and shows them to scripts (B-105). */
export function addHeaders(response: Response, more: HeaderList): Response {
  const { headers } = response;
  const all = withExposure(more, (name) => headers.get(name));
  for (const [name, value] of all) headers.set(name, value);
  return response;
}

/**
 * Whether a response is a sign to the platform, which gets it as it is: a connection that was
 * upgraded (Deno's and Workers' 101), or `Response.error()`.
 */
export function isHandedOver(response: Response): boolean {
  const { webSocket } = response as { readonly webSocket?: unknown };
  return response.status < 200 || (webSocket !== undefined && webSocket !== null);
}

/** The body of an answer for a `Response`: `null` where it is empty or its status allows none. */
export function bodyOf({ status, body }: Answer): Uint8Array<ArrayBuffer> | null {
  return bodilessStatuses.has(status) || body.length === 0 ? null : Uint8Array.from(body);
}

/** An answer of the layer as a response. */
export function toResponse(answer: Answer): Response {
  return new Response(bodyOf(answer), { ...encoded, ...initOf(answer) });
}

/** Status and headers of an answer as `Response` and Hono take them. */
export function initOf({ status, headers }: Omit<Answer, "body">): ResponseInit {
  return { status, headers: headers.map(([name, value]): [string, string] => [name, value]) };
}

/**
 * The request's bytes, read from a clone: a platform's request may be more than a `Request` (a
 * `NextRequest`, Bun's with its params), and the handler gets that very one, its body unread.
 * `undefined` when it has none, `"too-large"` over the limit. Throws when it was read before.
 */
export async function peekBody(
  request: Request,
  limitBytes: number,
): Promise<Uint8Array | undefined | "too-large" | "aborted"> {
  const { body } = request;
  if (body === null) return undefined;
  if (request.bodyUsed || body.locked) {
    throw new TypeError(
      "The request body was read before idempotent(). Read it in the handler, or pass a clone on.",
    );
  }
  const declared = request.headers.get("content-length");
  if (Number(declared ?? 0) > limitBytes) return "too-large";
  try {
    // In one piece where the length is known: some platforms have the bytes at hand.
    if (declared !== null) return bounded(await request.clone().arrayBuffer(), limitBytes);
    const keep = createKeep(limitBytes);
    for await (const chunk of request.clone().body ?? []) {
      keep.add(chunk);
      if (keep.isOver()) return "too-large";
    }
    return keep.body();
  } catch {
    return "aborted"; // the client went away while it was sending
  }
}

// A request that was made by hand may declare less than it has.
function bounded(buffer: ArrayBuffer, limitBytes: number): Uint8Array | "too-large" {
  return buffer.byteLength > limitBytes ? "too-large" : new Uint8Array(buffer);
}
