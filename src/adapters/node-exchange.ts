/**
 * One protected exchange on Node's request and response: what the node and express adapters share.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Claim } from "../engine/claim.ts";
import type { Answer } from "../http/answer.ts";
import type { HttpPolicy } from "../http/policy.ts";
import { settleAnswer } from "../http/recorded.ts";
import { tapResponse } from "./node-tap.ts";

/** What a handler can ask of its own execution. */
export interface Idempotency {
  readonly key: string;
  readonly claim: Claim;
}

/** Sends an answer of the layer. The current exchange's own headers stand. */
export function sendAnswer(res: ServerResponse, answer: Answer): void {
  res.statusCode = answer.status;
  const names = new Set(answer.headers.map(([name]) => name));
  for (const name of names) res.removeHeader(name);
  for (const [name, value] of answer.headers) res.appendHeader(name, value);
  const bodiless = answer.status === 204 || answer.status === 304;
  if (!bodiless) res.setHeader("content-length", answer.body.length);
  res.end(bodiless ? undefined : answer.body);
}

/**
 * Taps the response so that its end completes or releases the claim, whatever the handler does with
 * it. Returns what to call when the handler throws: before its response has begun the client gets a
 * 500, later a cut; after its end nothing changes.
 */
export function guardResponse(
  res: ServerResponse,
  claim: Claim,
  policy: HttpPolicy,
): (error: unknown) => void {
  let ended = false;
  tapResponse(res, {
    limitBytes: policy.maxRecordedBytes,
    onEnd: async (captured) => {
      ended = true;
      await settleAnswer(claim, captured, policy);
    },
    // A body that broke off midway is no outcome (B-111).
    onCut: () => {
      ended = true;
      void claim.release();
    },
  });
  return (error) => {
    if (ended) return;
    if (res.headersSent) res.destroy(error instanceof Error ? error : undefined);
    else res.writeHead(500, { "content-type": "text/plain" }).end("Internal Server Error");
  };
}

/** The field lines of a header as they came, before Node joins them. */
export function headerLines(req: IncomingMessage, name: string): readonly string[] {
  const lines: string[] = [];
  for (let index = 0; index + 1 < req.rawHeaders.length; index += 2) {
    if (req.rawHeaders[index]?.toLowerCase() === name) lines.push(req.rawHeaders[index + 1] ?? "");
  }
  return lines;
}
