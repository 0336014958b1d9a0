/**
 * Answers that are thrown: Next.js turns what `redirect()` and `notFound()` throw in a route
 * handler into a response. The work before them is done, so they are outcomes and not failures.
 */
import type { HeaderList } from "../../http/answer.ts";

export interface ThrownAnswer {
  readonly status: number;
  readonly headers: HeaderList;
}

/** The answer that Next.js gives for something thrown; `undefined` when it is a failure. */
export function answerOfThrown(error: unknown, request: Request): ThrownAnswer | undefined {
  const { digest } = (error ?? {}) as { readonly digest?: unknown };
  const text = typeof digest === "string" ? digest : "";
  const refused = /^NEXT_HTTP_ERROR_FALLBACK;(\d{3})$/.exec(text)?.[1];
  if (refused !== undefined) return { status: Number(refused), headers: [] };
  const [, location, status] = /^NEXT_REDIRECT;(?:push|replace);(.*);(\d{3});$/s.exec(text) ?? [];
  if (location === undefined) return undefined;
  // Next answers a form with "see other", so that the browser does not post it again.
  return {
    status: isForm(request) ? 303 : Number(status),
    headers: [["location", location]],
  };
}

function isForm({ method, headers }: Request): boolean {
  const type = headers.get("content-type") ?? "";
  const isEncoded =
    type === "application/x-www-form-urlencoded" || type.startsWith("multipart/form-data");
  return method === "POST" && (isEncoded || headers.has("next-action"));
}
