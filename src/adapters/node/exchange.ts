/**
 * One protected exchange on Node's request and response: what the adapters on Node share.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Exchange } from "../../http/admit.ts";
import { bodilessStatuses } from "../../http/answer.ts";
import type { Answer, HeaderList } from "../../http/answer.ts";
import { byName, withExposure } from "../../http/headers.ts";
import { keyFor, scopeFor } from "../../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../../http/policy.ts";
import { contentOfBytes } from "../../http/target.ts";
import { fieldLines, parsedContent, peekBody, streamOf } from "./body.ts";
import type { Parsed } from "./body.ts";

/** What a framework knows better than Node's request. */
export interface Place {
  readonly target: string;
  readonly operation: string;
  /** Where a body parser that stands before the layer has put what it read. */
  readonly parsed?: Parsed;
}

/** The exchange of a request on Node, for `admit`. */
export function nodeExchange<Req>(
  [req, res, own]: readonly [IncomingMessage, ServerResponse, Req],
  [options, policy]: readonly [HttpOptions<Req>, HttpPolicy],
  { target, operation, parsed }: Place,
): Exchange {
  return {
    request: req,
    method: req.method ?? "GET",
    target,
    operation: options.operation ?? operation,
    header: (name) => fieldLines(req, name),
    scope: () => scopeFor(options, own),
    key: keyFor(options, own),
    content: async () => {
      // A body parser has read the stream to its end; without one the bytes are still there.
      const isParsed = parsed !== undefined && req.readableEnded;
      if (isParsed) return parsedContent(req, parsed, policy);
      const body = await peekBody(req, policy.maxRequestBytes, () => inviteBody(req, res));
      if (body === "too-large" || body === "aborted") return body;
      return contentOfBytes(body, req.headers["content-type"] ?? "", policy.fingerprint);
    },
    signal: policy.waitMs > 0 ? closing(res) : undefined,
  };
}

// Where the server leaves 100 Continue to its handler, nobody would send the body we wait for.
function inviteBody(req: IncomingMessage, res: ServerResponse): void {
  const isExpected = req.headers.expect?.toLowerCase() === "100-continue";
  if (isExpected && !isInvited(req, res)) res.writeContinue();
}

function isInvited(req: IncomingMessage, res: ServerResponse): boolean {
  const stream = streamOf(req);
  if (stream === undefined) return Reflect.get(res, "_sent100") !== false;
  return stream.sentInfoHeaders?.some(({ ":status": status }) => status === 100) === true;
}

function closing(res: ServerResponse): AbortSignal {
  const abort = new AbortController();
  res.once("close", () => abort.abort());
  return abort.signal;
}

/** Sends an answer of the layer. The current exchange's own headers stand. */
export function sendAnswer(res: ServerResponse, { status, headers, body }: Answer): void {
  const isBodiless = bodilessStatuses.has(status);
  res.statusCode = status;
  setHeaders(res, headers);
  if (!isBodiless) res.setHeader("content-length", body.length);
  res.end(isBodiless ? undefined : body);
}

/** Sets headers of the layer, and lets scripts of other origins read them. */
export function setHeaders(res: ServerResponse, headers: HeaderList): void {
  const all = withExposure(headers, (name) => res.getHeader(name));
  for (const [name, value] of byName(all)) res.setHeader(name, value);
}
