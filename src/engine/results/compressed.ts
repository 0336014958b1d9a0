/**
 * Compression of recorded results: Brotli at its quickest, where it pays. What is compressed says
 * how long it was, so that reading it back is bounded. No check sum: that is `encrypted()`'s task.
 */
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { unreadable } from "./result-codec.ts";
import type { ResultCodec } from "./result-codec.ts";

export interface CompressedOptions {
  /** Results below this many bytes are left alone. Default 1024. */
  readonly minBytes?: number;
  /**
   * Most bytes that a result may have: beyond it nothing is compressed, and nothing that claims to
   * be longer is read. Default 16 MiB.
   */
  readonly maxBytes?: number;
}

/** Defaults of `compressed()`. */
export const compressedDefaults: Readonly<Required<CompressedOptions>> = Object.freeze({
  minBytes: 1024,
  maxBytes: 16 * 1_048_576,
});

// The first byte says what follows; an envelope begins with its version, a small number.
const asItIs = 0xc0;
const brotli = 0xc1;
const headerBytes = 5; // the mark, then the length of what was compressed

/**
 * Compresses results, where that makes them smaller. What was recorded before it was switched on
 * stays readable. Throws `TypeError` on a wrong option.
 */
export function compressed(options: CompressedOptions = {}): ResultCodec {
  const { minBytes, maxBytes } = { ...compressedDefaults, ...options };
  checkSize("minBytes", minBytes);
  checkSize("maxBytes", maxBytes);
  return {
    name: "compressed",
    seal: (bytes) => {
      const worth = bytes.length >= minBytes && bytes.length <= maxBytes;
      return (worth ? compress(bytes) : undefined) ?? escaped(bytes);
    },
    open: (stored) => {
      if (stored[0] === asItIs) return stored.subarray(1);
      return stored[0] === brotli ? decompress(stored, maxBytes) : stored;
    },
  };
}

function compress(bytes: Uint8Array): Uint8Array | undefined {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: 1,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  const packed = brotliCompressSync(bytes, { params });
  if (packed.length + headerBytes >= bytes.length) return undefined;
  const stored = Buffer.allocUnsafe(headerBytes + packed.length);
  stored[0] = brotli;
  stored.writeUInt32BE(bytes.length, 1);
  stored.set(packed, headerBytes);
  return stored;
}

// Bytes of the user's own may begin with our marks.
function escaped(bytes: Uint8Array): Uint8Array {
  if (bytes[0] !== asItIs && bytes[0] !== brotli) return bytes;
  return Buffer.concat([Uint8Array.of(asItIs), bytes]);
}

function decompress(stored: Uint8Array, maxBytes: number): Uint8Array {
  const view = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  const length = view.length < headerBytes ? 0 : view.readUInt32BE(1);
  if (length === 0 || length > maxBytes) throw unreadable({ what: "its length is out of bounds" });
  const bytes = unpack(view.subarray(headerBytes), length);
  if (bytes?.length !== length) throw unreadable({ what: "its compressed bytes are torn" });
  return bytes;
}

function unpack(packed: Uint8Array, maxOutputLength: number): Buffer | undefined {
  try {
    return brotliDecompressSync(packed, { maxOutputLength });
  } catch {
    return undefined; // torn, or more than its header says: the caller reports it
  }
}

function checkSize(name: string, value: number): void {
  // Infinity as minBytes reads what is compressed and compresses nothing.
  if ((Number.isInteger(value) && value >= 1) || (value === Infinity && name === "minBytes"))
    return;
  throw new TypeError(`compressed: ${name} must be a whole number of bytes; got ${String(value)}.`);
}
