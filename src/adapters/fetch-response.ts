/** Responses of the Web's kind: made from an answer, or given further headers. */
import type { Answer, HeaderList } from "../http/answer.ts";
import { exposedHeaders } from "../http/headers.ts";

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

/** An answer of the layer as a response. */
export function toResponse({ status, headers, body }: Answer): Response {
  const bodiless = bodilessStatuses.has(status);
  const init = { status, headers: headers.map(([name, value]): [string, string] => [name, value]) };
  return new Response(bodiless ? null : Uint8Array.from(body), init);
}
