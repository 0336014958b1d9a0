/**
 * The tap on a Node response: sees every way of ending it, keeps what is to be recorded, and holds
 * the last byte back until the record is written (record, then answer). It decides nothing about
 * recording; `onEnd` does.
 */
import type { OutgoingHttpHeader, ServerResponse } from "node:http";
import type { Answer, HeaderList } from "../../http/answer.ts";
import { saysOutcome } from "../../http/headers.ts";
import type { Captured } from "../../http/recorded.ts";
import { createHold } from "../../http/hold.ts";
import { createKeep } from "../../http/keep.ts";
import { holdHead } from "./head.ts";

export interface Tap {
  /** Largest body that is kept, in bytes. */
  readonly limitBytes: number;
  /**
   * Called once, before the last byte leaves; the response ends when it resolves: as it is, or with
   * another answer, where its head has not left.
   */
  readonly onEnd: (captured: Captured) => Promise<Answer | undefined>;
  /** Keeps the head back until the body begins or ends, so that another answer can leave. */
  readonly holdHead?: boolean;
  /** Called once when the response was destroyed before its end, by the server's own side. */
  readonly onCut: () => void;
  /** Whether an end with this status, now, is not the handler's: it is let through unrecorded. */
  readonly isForeign?: (status: number) => boolean;
  /** A foreign end was let through; the handler may still end the response in its own way. */
  readonly onForeign?: () => void;
}

type Callback = (error?: Error | null) => void;
const nothing: Buffer = Buffer.alloc(0);

/** Puts the tap on a response that has not begun. */
export function tapResponse(res: ServerResponse, tap: Tap): void {
  const wire = wireOf(res);
  const kept = createKeep(tap.limitBytes);
  const hold = createHold();
  let ending = false;
  let isHeld = false; // ended, and not yet recorded
  // As the handler left them: a layer outside (compression) adds its own when the head is written.
  let headers: HeaderList | undefined;
  const seal = (): HeaderList => (headers ??= headersOf(res));

  let keepsHead = tap.holdHead === true;
  const flushHeaders = res.flushHeaders.bind(res);
  const pass = <T>(send: () => T): T => ((keepsHead = false), send());
  function write(chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const bytes = toBuffer(chunk, encoding);
    const done = callbackOf(encoding, callback);
    if (isHeld) return swallow(done); // Node would refuse it
    if (ending || bytes.length === 0) return wire.write(bytes, done);
    if (isEventStream(res)) return passEvents(bytes, done);
    kept.add(bytes);
    const out = hold.next(bytes);
    if (!res.headersSent) pass(flushHeaders);
    return wire.write(out, done);
  }

  // An event must not wait for its last byte, and a stream of them is nothing to replay (B-110).
  function passEvents(bytes: Buffer, done?: Callback): boolean {
    if (!kept.isOver()) {
      res.once("close", () => end());
      if (wire.isGone()) process.nextTick(() => res.emit("close")); // it was not told before
    }
    kept.abandon();
    return pass(() => wire.write(bytes, done));
  }

  function end(chunk?: unknown, encoding?: unknown, callback?: unknown): ServerResponse {
    const done = typeof chunk === "function" ? (chunk as Callback) : callbackOf(encoding, callback);
    if (done !== undefined) res.once("finish", done);
    if (ending) return res; // a second end must not overtake the record; Node ignores it, too
    ending = true;
    const bytes = isChunk(chunk) ? toBuffer(chunk, encoding) : nothing;
    kept.add(bytes);
    const rest = Buffer.concat([hold.rest(), bytes]);
    const sealed = seal();
    if (tap.isForeign?.(res.statusCode) === true) {
      pass(() => wire.end(hasBody(res) ? rest : nothing));
      tap.onForeign?.();
      return res;
    }
    const captured = { status: res.statusCode, headers: sealed, body: kept.body() };
    isHeld = true;
    const letGo = holdHead(res);
    void tap.onEnd(captured).then((instead) => {
      isHeld = false;
      letGo();
      pass(() => endWith(res, wire, instead ?? rest));
    });
    return res;
  }

  res.write = write as typeof res.write;
  res.end = end as typeof res.end;
  res.destroy = (error) => {
    if (!ending) tap.onCut();
    ending = true;
    return wire.destroy(error);
  };
  res.flushHeaders = () => pass(flushHeaders);
  tapWriteHead(res, { seal, keepsHead: () => keepsHead });
}

interface Wire {
  /** The client has left. */
  readonly isGone: () => boolean;
  readonly write: (bytes: Buffer, done?: Callback) => boolean;
  readonly end: (bytes: Buffer) => void;
  readonly destroy: ServerResponse["destroy"];
}

/**
 * The response as it was. When its client goes away the handler goes on as if it had not (B-76):
 * what it writes is swallowed, and "close" is told after its end, or a pipe would stop half-way.
 * Event streams are told at once, since they have no other end.
 */
function wireOf(res: ServerResponse): Wire {
  const write = res.write.bind(res) as (chunk: Uint8Array, done?: Callback) => boolean;
  const end = res.end.bind(res);
  const emit = res.emit.bind(res) as (name: string | symbol, ...args: unknown[]) => boolean;
  const destroy = res.destroy.bind(res);
  let gone = res.closed;
  let over = false;
  hideMarks(res, () => !over && !isEventStream(res));

  res.emit = ((name: string | symbol, ...args: unknown[]): boolean => {
    if (name !== "close" || over || isEventStream(res)) return emit(name, ...args);
    gone = true;
    return emit("drain"); // a pipe may be waiting for the client that will never read on
  }) as typeof res.emit;

  return {
    isGone: () => gone,
    write: (bytes, done) => {
      if (!gone && bytes.length > 0) return write(bytes, done);
      return swallow(done);
    },
    end: (bytes) => {
      over = true;
      if (!gone) {
        // In one call: a layer outside may treat writes and the end differently.
        if (bytes.length > 0) end(bytes);
        else end();
        return;
      }
      emit("finish");
      emit("close");
    },
    destroy: (error) => {
      over = true;
      return destroy(error);
    },
  };
}

/** A pipeline refuses a response that Node has marked as gone, and would never end it. */
function hideMarks(res: ServerResponse, isHidden: () => boolean): void {
  for (const mark of ["destroyed", "_closed"]) {
    let marked: unknown = Reflect.get(res, mark);
    Object.defineProperty(res, mark, {
      configurable: true,
      get: () => marked === true && !isHidden(),
      set(value: unknown) {
        marked = value;
      },
    });
  }
}

// Headers given to writeHead never show in getHeaders(): set them first, then write the head as
// asked. Node itself comes through here too, for the implicit head of a first write.
function tapWriteHead(
  res: ServerResponse,
  { seal, keepsHead }: { readonly seal: () => unknown; readonly keepsHead: () => boolean },
): void {
  const writeHead = res.writeHead.bind(res) as (status: number, reason?: string) => ServerResponse;
  res.writeHead = (status: number, reason?: unknown, given?: unknown): ServerResponse => {
    if (res.headersSent) return writeHead(status);
    const named = typeof reason === "string";
    setHeaders(res, named ? given : (reason ?? given));
    seal();
    if (keepsHead()) {
      res.statusCode = status;
      if (named) res.statusMessage = reason;
      return res;
    }
    return named ? writeHead(status, reason) : writeHead(status);
  };
}

function endWith(res: ServerResponse, wire: Wire, last: Buffer | Answer): void {
  if (Buffer.isBuffer(last)) return wire.end(hasBody(res) ? last : nothing);
  if (res.headersSent) return void wire.destroy(); // a cut: what has left is not the outcome
  replaceHead(res, last);
  wire.end(Buffer.from(last.body));
}

function replaceHead(res: ServerResponse, { status, headers }: Answer): void {
  for (const name of res.getHeaderNames()) if (saysOutcome(name)) res.removeHeader(name);
  res.statusCode = status;
  res.statusMessage = "";
  for (const [name, value] of headers) res.setHeader(name, value);
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

/** The headers of a response so far, several of one name as several. */
export function headersOf(res: ServerResponse): HeaderList {
  return Object.entries(res.getHeaders()).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one): [string, string] => [name, String(one)]),
  );
}

function swallow(done?: Callback): true {
  if (done !== undefined) process.nextTick(done);
  return true;
}

function hasBody(res: ServerResponse): boolean {
  return res.statusCode !== 204 && res.statusCode !== 304 && res.req.method !== "HEAD";
}

/** Whether a response has no other end than its client's or its handler's leaving. */
export function isEventStream(res: ServerResponse): boolean {
  return String(res.getHeader("content-type")).startsWith("text/event-stream");
}

function isChunk(chunk: unknown): boolean {
  return chunk !== undefined && chunk !== null && typeof chunk !== "function";
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
