/**
 * Reads one HTTP/1.1 answer as it comes over the wire (RFC 9112): interim answers, field lines as
 * sent, the framing, every byte of the body, the trailers, and where it broke off.
 */
import { EarlyEnd } from "./byte-reader.ts";
import type { ByteReader } from "./byte-reader.ts";
import type { Pairs } from "../instruction.ts";

export interface Head {
  readonly status: number;
  /** Field lines in the order and spelling they were sent in. */
  readonly headers: Pairs;
}

/** An answer, or what came of it. */
export interface WireAnswer extends Head {
  /** The answers with 1xx before it. */
  readonly interim: readonly Head[];
  readonly body: Buffer;
  readonly trailers: Pairs;
  /** Why it is not whole; absent when it is. The status is 0 when not even its head came. */
  readonly cut?: string;
}

/** An answer on its way. */
export interface Arriving {
  /** Resolves when the first head has come, an interim one too, or when none will. */
  readonly begun: Promise<void>;
  /** Resolves with what there is once `bytes` bytes of body have come, or when no more will. */
  readonly atLeast: (bytes: number) => Promise<Buffer>;
  /** Never rejects: an answer that broke off says so in `cut`. */
  readonly whole: Promise<WireAnswer>;
}

/** Starts to read the answer to a request with this method. */
export function readAnswer(reader: ByteReader, method: string): Arriving {
  const chunks: Buffer[] = [];
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const resolve of waiting) resolve();
    waiting.clear();
  };
  const onBytes = (bytes: Buffer): void => {
    chunks.push(bytes);
    wake();
  };
  let isOver = false;
  const begun = Promise.withResolvers<void>();
  const body = (): Buffer => Buffer.concat(chunks);
  const whole = collect(reader, { method, onBytes, body, onHead: begun.resolve });
  void whole.then(() => {
    isOver = true;
    begun.resolve();
    wake();
  });
  return {
    whole,
    begun: begun.promise,
    atLeast: async (bytes) => {
      for (;;) {
        const arrived = body();
        if (isOver || arrived.length >= bytes) return arrived;
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
  };
}

interface Collecting {
  readonly method: string;
  readonly onHead: () => void;
  readonly onBytes: (bytes: Buffer) => void;
  readonly body: () => Buffer;
}

async function collect(
  reader: ByteReader,
  { method, onHead, onBytes, body }: Collecting,
): Promise<WireAnswer> {
  const interim: Head[] = [];
  let head: Head = { status: 0, headers: [] };
  try {
    head = await readHead(reader);
    onHead();
    for (; isInterim(head); head = await readHead(reader)) interim.push(head);
    const trailers = await readBody(reader, { head, method, onBytes });
    return { ...head, interim, body: body(), trailers };
  } catch (error) {
    if (!(error instanceof EarlyEnd)) throw error;
    return { ...head, interim, body: body(), trailers: [], cut: wordsOf(error) };
  }
}

function wordsOf({ message, cause }: EarlyEnd): string {
  return cause instanceof Error ? cause.message : message;
}

// 101 ends the exchange: what follows is no longer HTTP.
function isInterim({ status }: Head): boolean {
  return status >= 100 && status < 200 && status !== 101;
}

async function readHead(reader: ByteReader): Promise<Head> {
  const start = await reader.line();
  const [, status] = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(start) ?? [];
  if (status === undefined) throw new EarlyEnd("The answer is not HTTP/1.1.");
  return { status: Number(status), headers: await readFields(reader) };
}

async function readFields(reader: ByteReader): Promise<Pairs> {
  const fields: (readonly [string, string])[] = [];
  for (;;) {
    const line = await reader.line();
    if (line === "") return fields;
    const colon = line.indexOf(":");
    if (colon < 1) throw new EarlyEnd("The answer has a header line without a name.");
    fields.push([line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "")]);
  }
}

interface Bodied {
  readonly head: Head;
  readonly method: string;
  readonly onBytes: (bytes: Buffer) => void;
}

/** Reads the body by its framing (RFC 9112, 6.3); returns the trailers. */
async function readBody(
  reader: ByteReader,
  { head: { status, headers }, method, onBytes }: Bodied,
): Promise<Pairs> {
  if (method === "HEAD" || status === 204 || status === 304 || status === 101) return [];
  const [coding] = valuesOf(headers, "transfer-encoding");
  if (coding !== undefined && /chunked$/i.test(coding)) return readChunks(reader, onBytes);
  const [length] = valuesOf(headers, "content-length");
  if (length === undefined) {
    for await (const bytes of reader.rest()) onBytes(bytes);
    return [];
  }
  await readExactly(reader, Number(length), onBytes);
  return [];
}

async function readChunks(reader: ByteReader, onBytes: Bodied["onBytes"]): Promise<Pairs> {
  for (;;) {
    const [hex] = /^[0-9a-f]+/i.exec(await reader.line()) ?? [];
    if (hex === undefined) throw new EarlyEnd("The answer has a chunk without a size.");
    const size = Number.parseInt(hex, 16);
    if (size === 0) return readFields(reader);
    await readExactly(reader, size, onBytes);
    await reader.line();
  }
}

async function readExactly(
  reader: ByteReader,
  length: number,
  onBytes: Bodied["onBytes"],
): Promise<void> {
  for (let left = length; left > 0;) {
    const bytes = await reader.some(left);
    left -= bytes.length;
    onBytes(bytes);
  }
}

/** The values of one header, in order. */
export function valuesOf(headers: Pairs, name: string): readonly string[] {
  return headers.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value);
}
