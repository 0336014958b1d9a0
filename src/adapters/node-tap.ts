/**
 * The tap on a Node response: sees every way of ending it, keeps what is to be recorded, and holds
 * the last byte back until the record is written (record, then answer). It decides nothing about
 * recording; `onEnd` does.
 */
import type { OutgoingHttpHeader, ServerResponse } from "node:http";
import type { HeaderList } from "../http/answer.ts";

export interface Captured {
  readonly status: number;
  readonly headers: HeaderList;
  /** `undefined` when the body was larger than the limit. */
  readonly body: Uint8Array | undefined;
}
export interface Tap {
  /** Largest body that is kept, in bytes. */
  readonly limitBytes: number;
  /** Called once, before the last byte leaves; the response ends when it resolves. */
  readonly onEnd: (captured: Captured) => Promise<void>;
}

type Callback = (error?: Error | null) => void;

/** Puts the tap on a response that has not begun. */
export function tapResponse(res: ServerResponse, tap: Tap): void {
  const write = res.write.bind(res) as (chunk: Uint8Array, done?: Callback) => boolean;
  const end = res.end.bind(res) as (done?: Callback) => ServerResponse;
  const kept: Buffer[] = [];
  let keptBytes = 0;
  let held: Buffer | undefined;
  let ending = false;

  function keep(chunk: Buffer): void {
    keptBytes += chunk.length;
    if (keptBytes <= tap.limitBytes) kept.push(Buffer.from(chunk));
    else kept.length = 0;
  }

  function tappedWrite(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const done = callbackOf(encoding, callback);
    if (ending) return write(toBuffer(chunk, encoding), done); // Node's own error: write after end
    const bytes = toBuffer(chunk, encoding);
    if (bytes.length === 0) return write(bytes, done);
    keep(bytes);
    // One byte is always in hand, so that no client can hold a whole response that is not recorded
    // yet.
    const out =
      held === undefined ? bytes.subarray(0, -1) : Buffer.concat([held, bytes.subarray(0, -1)]);
    held = Buffer.from(bytes.subarray(-1));
    if (out.length > 0) return write(out, done);
    if (!res.headersSent) res.flushHeaders();
    if (done !== undefined) process.nextTick(done);
    return true;
  }

  function tappedEnd(chunk?: unknown, encoding?: unknown, callback?: unknown): ServerResponse {
    const done = typeof chunk === "function" ? (chunk as Callback) : callbackOf(encoding, callback);
    if (ending) return done === undefined ? end() : end(done);
    ending = true;
    const last =
      chunk === undefined || chunk === null || typeof chunk === "function" ? undefined : chunk;
    const bytes = last === undefined ? Buffer.alloc(0) : toBuffer(last, encoding);
    keep(bytes);
    const rest = held === undefined ? bytes : Buffer.concat([held, bytes]);
    if (!res.headersSent && res.getHeader("content-length") === undefined && hasBody(res)) {
      res.setHeader("content-length", rest.length);
    }
    const body = keptBytes <= tap.limitBytes ? Buffer.concat(kept) : undefined;
    const captured = { status: res.statusCode, headers: headersOf(res), body };
    void tap.onEnd(captured).then(() => {
      if (rest.length > 0 && hasBody(res)) write(rest);
      end(done);
    });
    return res;
  }

  res.write = tappedWrite as typeof res.write;
  res.end = tappedEnd as typeof res.end;
  tapWriteHead(res);
}

// Headers given to writeHead never show in getHeaders(): set them first, then write the head as
// asked. Node itself comes through here too, for the implicit head of a first write.
function tapWriteHead(res: ServerResponse): void {
  const writeHead = res.writeHead.bind(res) as (status: number, reason?: string) => ServerResponse;
  res.writeHead = (status: number, reason?: unknown, given?: unknown): ServerResponse => {
    if (res.headersSent) return writeHead(status);
    const named = typeof reason === "string";
    setHeaders(res, named ? given : (reason ?? given));
    return named ? writeHead(status, reason) : writeHead(status);
  };
}

function setHeaders(res: ServerResponse, given: unknown): void {
  if (Array.isArray(given)) {
    const flat: unknown[] = given.every(Array.isArray) ? given.flat(1) : given;
    const names = new Set(flat.filter((_, index) => index % 2 === 0).map((name) => String(name)));
    for (const name of names) res.removeHeader(name);
    for (let index = 0; index + 1 < flat.length; index += 2) {
      res.appendHeader(String(flat[index]), flat[index + 1] as string);
    }
    return;
  }
  for (const [name, value] of Object.entries((given ?? {}) as Record<string, OutgoingHttpHeader>)) {
    if (value !== undefined) res.setHeader(name, value);
  }
}

function headersOf(res: ServerResponse): HeaderList {
  return Object.entries(res.getHeaders()).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one): [string, string] => [name, String(one)]),
  );
}

function hasBody(res: ServerResponse): boolean {
  return res.statusCode !== 204 && res.statusCode !== 304 && res.req.method !== "HEAD";
}

function toBuffer(chunk: unknown, encoding: unknown): Buffer {
  if (typeof chunk === "string") {
    return Buffer.from(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8");
  }
  if (chunk instanceof Uint8Array) {
    return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }
  throw new TypeError("A response chunk must be a string, a Buffer or a Uint8Array.");
}

function callbackOf(encoding: unknown, callback: unknown): Callback | undefined {
  const found = typeof encoding === "function" ? encoding : callback;
  return typeof found === "function" ? (found as Callback) : undefined;
}
