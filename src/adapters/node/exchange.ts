/**
 * One protected exchange on Node's request and response: what the node and express adapters share.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Content } from "../../engine/values/fingerprint.ts";
import type { Exchange } from "../../http/admit.ts";
import type { Answer, HeaderList } from "../../http/answer.ts";
import type { Execution } from "../../http/execution.ts";
import { exposedHeaders } from "../../http/headers.ts";
import { keyFor, scopeFor } from "../../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../../http/policy.ts";
import { contentOfBytes } from "../../http/target.ts";
import { peekBody } from "./body.ts";
import { asHandler, detachResponse, isHandler } from "./detach.ts";
import { tapResponse } from "./tap.ts";
import type { Tap } from "./tap.ts";

/** What a framework knows better than Node's request. */
export interface Place {
  readonly target: string;
  readonly operation: string;
  /** The body where somebody has read it already; by default it is peeked at. */
  readonly content?: (() => Content) | undefined;
}

/** The exchange of a request on Node, for `admit`. */
export function nodeExchange<Req>(
  [req, res, own]: readonly [IncomingMessage, ServerResponse, Req],
  [options, policy]: readonly [HttpOptions<Req>, HttpPolicy],
  { target, operation, content }: Place,
): Exchange {
  return {
    method: req.method ?? "GET",
    target,
    operation: options.operation ?? operation,
    header: (name) => headerLines(req, name),
    scope: () => scopeFor(options, own),
    key: keyFor(options, own),
    content: async () => {
      if (content !== undefined) return parsedWithin(policy.maxRequestBytes, req, content);
      const body = await peekBody(req, policy.maxRequestBytes);
      if (body === "too-large" || body === "aborted") return body;
      return contentOfBytes(body, req.headers["content-type"] ?? "", policy.fingerprint);
    },
    signal: policy.waitMs > 0 ? closing(res) : undefined,
  };
}

// A parser may allow more than the route: what it has read is as large as it was announced (B-106).
function parsedWithin(
  limitBytes: number,
  { headers }: IncomingMessage,
  read: () => Content,
): Content | "too-large" {
  if (Number(headers["content-length"] ?? 0) > limitBytes) return "too-large";
  const content = read();
  return content.kind === "bytes" && content.bytes.length > limitBytes ? "too-large" : content;
}

function closing(res: ServerResponse): AbortSignal {
  const abort = new AbortController();
  res.once("close", () => abort.abort());
  return abort.signal;
}

/** Sends an answer of the layer. The current exchange's own headers stand. */
export function sendAnswer(res: ServerResponse, answer: Answer): void {
  res.statusCode = answer.status;
  setHeaders(res, answer.headers);
  const bodiless = [204, 205, 304].includes(answer.status);
  if (!bodiless) res.setHeader("content-length", answer.body.length);
  res.end(bodiless ? undefined : answer.body);
}

/**
 * Sets headers of the layer, several of one name too, and lets scripts of other origins read them.
 */
export function setHeaders(res: ServerResponse, headers: HeaderList): void {
  for (const name of new Set(headers.map(([name]) => name))) res.removeHeader(name);
  for (const [name, value] of headers) res.appendHeader(name, value);
  if (res.hasHeader("access-control-allow-origin") && headers.length > 0) {
    const present = String(res.getHeader("access-control-expose-headers") ?? "");
    res.setHeader("access-control-expose-headers", exposedHeaders(present, headers));
  }
}

// Only what timeouts answer with: a driver may lose the handler's context, and then a plain 500 of
// its own must still free the key at once.
const timeouts: ReadonlySet<number> = new Set([408, 503, 504]);

/**
 * The handler threw: before its response has begun the client gets a 500, later a cut; what it had
 * ended stands.
 */
export function answerFailure(res: ServerResponse, error: unknown): void {
  if (res.writableEnded) return;
  if (res.headersSent) res.destroy(error instanceof Error ? error : undefined);
  else res.writeHead(500, { "content-type": "text/plain" }).end("Internal Server Error");
}

export interface Guard {
  /**
   * Runs the handler, or what leads to it: what it ends is told from what a timeout ends (B-79).
   */
  readonly run: <T>(handler: () => T) => T;
  /**
   * The handler threw: before its response has begun the client gets a 500, later a cut; after its
   * end nothing changes.
   */
  readonly fail: (error: unknown) => void;
}

/**
 * Taps the response so that its end completes or releases the claim, whatever the handler does with
 * it. `isAtWork` is for frameworks that tell when a handler is done: until then nobody else's
 * answer frees the key, whatever its status.
 */
export function guardResponse(
  res: ServerResponse,
  execution: Execution,
  isAtWork?: () => boolean,
): Guard {
  let ended = false;
  let ran = false;
  setHeaders(res, execution.headers);
  const { statusCode } = res;
  const headers = new Map(Object.entries(res.getHeaders()));
  const tap: Tap = {
    limitBytes: execution.maxRecordedBytes,
    holdHead: execution.isReplaceable,
    onEnd: (captured) => {
      ended = true;
      return execution.settle(captured);
    },
    // A body that broke off midway is no outcome (B-111).
    onCut: () => {
      ended = true;
      void execution.release();
    },
  };
  // The handler goes on with the response that it was given.
  function standIn(): void {
    const other = detachResponse(res).setHeaders(headers as Map<string, string>);
    other.statusCode = statusCode;
    const isForeign = (): boolean => isAtWork?.() === true && !isHandler(res);
    tapResponse(other, { ...tap, isForeign, onForeign: standIn });
  }
  tapResponse(res, {
    ...tap,
    isForeign: (status) =>
      ran &&
      (isAtWork?.() ?? timeouts.has(status)) &&
      !isHandler(res) &&
      !execution.records(status),
    onForeign: () => {
      execution.detach();
      standIn();
    },
  });
  return {
    run: (handler) => {
      ran = true;
      return asHandler(res, handler);
    },
    fail: (error) => {
      if (!ended) asHandler(res, () => answerFailure(res, error));
    },
  };
}

/** The field lines of a header as they came, before Node joins them. */
function headerLines(req: IncomingMessage, name: string): readonly string[] {
  const lines: string[] = [];
  for (let index = 0; index + 1 < req.rawHeaders.length; index += 2) {
    if (req.rawHeaders[index]?.toLowerCase() === name) lines.push(req.rawHeaders[index + 1] ?? "");
  }
  return lines;
}
