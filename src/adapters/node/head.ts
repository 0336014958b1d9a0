/** The head of a Node response as a list of headers, and what it says of the body. */
import type { ServerResponse } from "node:http";
import { bodilessStatuses } from "../../http/answer.ts";
import type { HeaderList } from "../../http/answer.ts";

/** The headers of a response so far, several of one name as several. */
export function headersOf(res: ServerResponse): HeaderList {
  return Object.entries(res.getHeaders()).flatMap(([name, value]) => lines(name, value));
}

/**
 * The headers of a response together with those given to its `writeHead`, after the status: an
 * object, a flat array or pairs, perhaps behind a reason. They never show in `getHeaders()`.
 */
export function headersWith(headers: HeaderList, args: readonly unknown[]): HeaderList {
  const given = givenHeaders(typeof args[0] === "string" ? args[1] : (args[0] ?? args[1]));
  if (given.length === 0) return headers;
  const names = new Set(given.map(([name]) => name));
  return [...headers.filter(([name]) => !names.has(name.toLowerCase())), ...given];
}

function givenHeaders(given: unknown): HeaderList {
  if (typeof given !== "object" || given === null) return [];
  if (!Array.isArray(given))
    return Object.entries(given).flatMap(([name, value]) => lines(name, value));
  const flat: readonly unknown[] = given.every(Array.isArray) ? given.flat(1) : given;
  return flat.flatMap((name, index) =>
    index % 2 === 0 ? lines(String(name), flat[index + 1]) : [],
  );
}

function lines(name: string, value: unknown): HeaderList {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.map((one) => [name.toLowerCase(), String(one)]);
}

function valueOf(headers: HeaderList, wanted: string): string | undefined {
  return headers.find(([name]) => name === wanted)?.[1];
}

/** Whether the response has no other end than its client's or its handler's leaving. */
export function isEventStream(headers: HeaderList): boolean {
  return valueOf(headers, "content-type")?.startsWith("text/event-stream") === true;
}

/** Whether the client can tell the end of the body by its length. */
export function isLengthKnown(headers: HeaderList): boolean {
  return valueOf(headers, "content-length") !== undefined;
}

/** Whether the response carries no body, whatever is written to it. */
export function isBodiless({ statusCode, req }: ServerResponse): boolean {
  return bodilessStatuses.has(statusCode) || req.method === "HEAD";
}
