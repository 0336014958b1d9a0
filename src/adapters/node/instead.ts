/**
 * A response that may still leave as another answer, because what it tells of may turn out not to
 * have happened (a transaction that does not commit): its head is kept back until it must go.
 */
import type { ServerResponse } from "node:http";
import type { Answer, HeaderList } from "../../http/answer.ts";
import { byName, saysOutcome } from "../../http/headers.ts";
import { headersWith } from "./head.ts";
import type { Wire } from "./wire.ts";

/** Keeps the head of a response back; returns what lets it go. */
export function keepHead(res: ServerResponse): () => void {
  const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => ServerResponse;
  const flushHeaders = res.flushHeaders.bind(res);
  let isKept = true;
  const letGo = (): void => void (isKept = false);
  res.writeHead = (status: number, ...args: unknown[]): ServerResponse => {
    if (!isKept || res.headersSent) return writeHead(status, ...args);
    res.statusCode = status;
    if (typeof args[0] === "string") res.statusMessage = args[0];
    setAll(res, headersWith([], args));
    return res;
  };
  res.flushHeaders = () => {
    letGo();
    flushHeaders();
  };
  return letGo;
}

/** Ends the response with another answer; where its head has left, with a cut. */
export function endWith(res: ServerResponse, wire: Wire, { status, headers, body }: Answer): void {
  if (res.headersSent) return void wire.destroy(); // what has left is not the outcome
  for (const name of res.getHeaderNames()) if (saysOutcome(name)) res.removeHeader(name);
  res.statusCode = status;
  res.statusMessage = "";
  setAll(res, [...headers, ["content-length", String(body.length)]]);
  wire.end(Buffer.from(body));
}

function setAll(res: ServerResponse, headers: HeaderList): void {
  for (const [name, value] of byName(headers)) res.setHeader(name, value);
}
