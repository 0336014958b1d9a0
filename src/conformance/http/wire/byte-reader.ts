/**
 * Reads a socket in the pieces that HTTP/1.1 is made of: lines, and so many bytes. Whoever reads
 * waits; an end of the connection rejects with `EarlyEnd`. What the pieces mean lives elsewhere.
 */
import type { Readable } from "node:stream";

/** The connection ended before what was asked for had come. */
export class EarlyEnd extends Error {
  override readonly name = "EarlyEnd";
}

export interface ByteReader {
  /** The next line, without its CRLF, as latin1. */
  readonly line: () => Promise<string>;
  /** At least one byte of the next `most`, as soon as there is one. */
  readonly some: (most: number) => Promise<Buffer>;
  /** Everything up to the end of the connection, in the pieces it comes in. */
  readonly rest: () => AsyncIterable<Buffer>;
}

const longestLineBytes = 65_536;

/** Starts to read; the source's errors become the cause of an `EarlyEnd`. */
export function createByteReader(source: Readable): ByteReader {
  let held: Buffer = Buffer.alloc(0);
  let ended = false;
  let cause: unknown;
  let wake = (): void => {};

  function onEnd(): void {
    ended = true;
    wake();
  }
  source.on("data", (bytes: Buffer) => {
    held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
    wake();
  });
  source.on("end", onEnd).on("close", onEnd);
  source.on("error", (error) => {
    cause = error;
    onEnd();
  });

  /** Resolves once more bytes have come; rejects once none will. */
  async function more(): Promise<void> {
    if (ended) throw new EarlyEnd("The connection ended early.", { cause });
    const woken = Promise.withResolvers<void>();
    wake = woken.resolve;
    await woken.promise;
  }

  function take(length: number): Buffer {
    const taken = held.subarray(0, length);
    held = held.subarray(length);
    return taken;
  }

  async function some(most: number): Promise<Buffer> {
    while (held.length === 0) await more();
    return take(most);
  }

  return {
    some,
    line: async () => {
      for (;;) {
        const length = held.indexOf("\n");
        if (length >= 0)
          return take(length + 1)
            .toString("latin1")
            .replace(/\r?\n$/, "");
        if (held.length > longestLineBytes) throw new EarlyEnd("A line does not end.");
        await more();
      }
    },
    rest: async function* () {
      for (;;) {
        if (held.length > 0) yield take(held.length);
        else if (ended && cause === undefined) return;
        else await more();
      }
    },
  };
}
