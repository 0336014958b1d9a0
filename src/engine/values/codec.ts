/**
 * The versioned binary envelope around every result: one byte version, one byte kind, four bytes
 * length of a JSON head, the head, then the body's raw bytes. Written once, read without copying;
 * no JSON inside JSON.
 */
import { LatchkeyError } from "../../errors.ts";

const version = 1;
const headOffset = 6;
const kinds = ["undefined", "json", "bytes", "http", "omitted", "failed"] as const;

export type EnvelopeKind = (typeof kinds)[number];
export interface Envelope {
  readonly kind: EnvelopeKind;
  readonly head: unknown;
  readonly body: Uint8Array;
}
const nothing: Uint8Array = new Uint8Array(0);

/** Bytes of an envelope. `head` must be JSON. */
export function encodeEnvelope(
  kind: EnvelopeKind,
  head: unknown,
  body: Uint8Array = nothing,
): Uint8Array {
  const headBytes = head === undefined ? nothing : Buffer.from(JSON.stringify(head), "utf8");
  const bytes = Buffer.allocUnsafe(headOffset + headBytes.length + body.length);
  bytes[0] = version;
  bytes[1] = kinds.indexOf(kind);
  bytes.writeUInt32BE(headBytes.length, 2);
  bytes.set(headBytes, headOffset);
  bytes.set(body, headOffset + headBytes.length);
  return bytes;
}

/**
 * Reads an envelope; throws `store-corrupt` on another version or torn bytes: that is locked,
 * never free (B-97).
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = kinds[view[1] ?? kinds.length];
  if (view.length < headOffset || view[0] !== version || kind === undefined) throw corrupt();
  const bodyOffset = headOffset + view.readUInt32BE(2);
  if (bodyOffset > view.length) throw corrupt();
  return {
    kind,
    head: parseHead(view.subarray(headOffset, bodyOffset)),
    body: view.subarray(bodyOffset),
  };
}

function parseHead(bytes: Buffer): unknown {
  return bytes.length === 0 ? undefined : parseJson(bytes);
}

// A parser's error quotes what it has read: nothing of it may reach a log.
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    throw corrupt();
  }
}

/**
 * The envelope of a plain function's value; a value that JSON cannot say, or that takes more than
 * `mostBytes`, is omitted rather than run again.
 */
export function encodeValue(value: unknown, mostBytes: number = Infinity): Uint8Array {
  const envelope = envelopeOf(value);
  return envelope.length > mostBytes ? encodeEnvelope("omitted", { reason: "size" }) : envelope;
}

// Never throws: the work is done, and a key whose result cannot be written must not stay claimed.
function envelopeOf(value: unknown): Uint8Array {
  try {
    if (value === undefined) return encodeEnvelope("undefined", undefined);
    if (value instanceof Uint8Array) return encodeEnvelope("bytes", undefined, value);
    const text: string | undefined = JSON.stringify(value);
    if (text !== undefined) return encodeEnvelope("json", undefined, Buffer.from(text, "utf8"));
  } catch {
    // BigInt, a circle, bytes that were transferred away: omitted like what JSON leaves out.
  }
  return encodeEnvelope("omitted", { reason: "not JSON" });
}

/**
 * The value of a plain function's envelope; throws `result-omitted` when it could not be kept, and
 * `failed` when an operator has said so.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  const { kind, body } = decodeEnvelope(bytes);
  switch (kind) {
    case "undefined":
      return undefined;
    case "bytes":
      return new Uint8Array(body);
    case "json":
      return parseJson(body);
    case "omitted":
      throw new LatchkeyError(
        "result-omitted",
        "The work is done, but its result was not kept. Look the outcome up; do not send it again.",
      );
    case "failed":
      throw new LatchkeyError(
        "failed",
        "This work failed for good and is not run again. Use a new key for a new attempt.",
      );
    case "http":
      throw corrupt();
  }
}

function corrupt(): LatchkeyError {
  return new LatchkeyError(
    "store-corrupt",
    "A recorded result cannot be read. Deploy the version that wrote it, or forget the record.",
  );
}
