/**
 * A response body on its way to the client: kept for the record, its end held until that is
 * written.
 */
import type { Answer } from "../../http/answer.ts";
import { createHold } from "../../http/hold.ts";
import type { Keep } from "../../http/keep.ts";

type Sink = ReadableStreamDefaultController<Uint8Array>;

/** A body that is being read. */
export interface Source {
  readonly read: () => Promise<ReadableStreamReadResult<Uint8Array>>;
  readonly cancel: (reason: unknown) => Promise<void>;
}

export interface RecordedStream {
  readonly keep: Keep;
  /** The client can tell the end by its length: then the last byte is held, too. */
  readonly isLengthKnown: boolean;
  /** Called once with the whole body (`undefined` when it was too large), before its end. */
  readonly onEnd: (body: Uint8Array | undefined) => Promise<unknown>;
  /** The body broke off: nothing whole can be recorded (B-111). */
  readonly onError: () => Promise<unknown>;
}

/** Breaks a stream off whose beginning has left already, when another answer must leave instead. */
export function cutOff(instead: Answer | undefined): void {
  if (instead === undefined) return;
  throw new Error("The transaction of this response was not committed; the response is cut off.");
}

/**
 * Reads what of a body is there at once, up to `limitBytes`: `whole` when that is all of it, so
 * that a server can send it with its length as it would without the layer (B-19). `source` yields
 * the body from its start in any case.
 */
export async function readAhead(
  body: ReadableStream<Uint8Array>,
  limitBytes: number,
): Promise<{ readonly whole: Uint8Array<ArrayBuffer> | undefined; readonly source: Source }> {
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  const queue: ReturnType<Source["read"]>[] = [];
  const source: Source = {
    read: () => queue.shift() ?? reader.read(),
    cancel: (reason) => reader.cancel(reason),
  };
  const turn = Promise.withResolvers<undefined>();
  const timer = setTimeout(turn.resolve, 0, undefined);
  let total = 0;
  while (total < limitBytes) {
    const pending = reader.read();
    queue.push(pending);
    // An error is left to whoever reads on.
    const settled = pending.catch(() => undefined);
    const result = await Promise.race([settled, turn.promise]);
    if (result === undefined) break;
    if (result.done) {
      clearTimeout(timer);
      return { whole: Uint8Array.from(Buffer.concat(chunks)), source };
    }
    chunks.push(result.value);
    total += result.value.length;
  }
  clearTimeout(timer);
  return { whole: undefined, source };
}

/** Whether the platform made this stream of bytes it has, as it does for text, bytes and blobs. */
export function isMadeOfBytes(body: ReadableStream<Uint8Array> | null): boolean {
  try {
    body?.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false; // a stream of the handler's own: it takes its time
  }
}

/**
 * Passes chunks on as they come. What can be recorded is read whether or not somebody takes it: a
 * client that leaves, or a timeout that answers instead, changes nothing (B-76, B-79).
 */
export function recordedStream(
  { read, cancel }: Source,
  { keep, isLengthKnown, onEnd, onError }: RecordedStream,
): ReadableStream<Uint8Array> {
  const hold = createHold();
  let cancelled = false;

  /** Whether anything was passed: a pull that enqueues nothing is not repeated by the stream. */
  function pass(sink: Sink, value: Uint8Array): boolean {
    const out = isLengthKnown ? hold.next(value) : value;
    if (out.length > 0 && !cancelled) sink.enqueue(out);
    return out.length > 0 || cancelled;
  }

  function finish(sink: Sink): void {
    if (cancelled) return;
    if (hold.rest().length > 0) sink.enqueue(hold.rest());
    sink.close();
  }

  async function record(sink: Sink): Promise<void> {
    while (!keep.isOver()) {
      const { done, value } = await read();
      if (done) {
        await onEnd(keep.body());
        return finish(sink);
      }
      keep.add(value);
      pass(sink, value);
    }
    return undefined;
  }

  // Beyond what can be recorded the reader sets the pace.
  async function passOn(sink: Sink): Promise<void> {
    for (let passed = false; !passed;) {
      const { done, value } = await read();
      if (done) {
        await onEnd(undefined);
        return finish(sink);
      }
      passed = pass(sink, value);
    }
    return undefined;
  }

  const broken = async (sink: Sink, error: unknown): Promise<void> => {
    await onError();
    if (!cancelled) sink.error(error);
  };
  let recording: Promise<void>;
  return new ReadableStream<Uint8Array>({
    start: (sink) => {
      recording = record(sink).catch((error: unknown) => broken(sink, error));
    },
    pull: async (sink) => {
      await recording;
      if (keep.isOver()) await passOn(sink).catch((error: unknown) => broken(sink, error));
    },
    cancel: async (reason) => {
      cancelled = true;
      await recording;
      if (!keep.isOver()) return;
      await onEnd(undefined);
      await cancel(reason); // nothing more of it can be recorded, and nobody takes it
    },
  });
}

/**
 * Passes an event stream on as it is: an event must not wait for its last byte, and there is
 * nothing to replay (B-110). It is over when its reader or its source ends it, or when it breaks.
 */
export function eventStream(
  source: ReadableStream<Uint8Array>,
  { onEnd }: Pick<RecordedStream, "onEnd">,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await reader.read().catch(async (error: unknown) => {
        await onEnd(undefined);
        throw error;
      });
      if (!done) return controller.enqueue(value);
      await onEnd(undefined);
      return controller.close();
    },
    cancel: async (reason) => {
      await onEnd(undefined);
      await reader.cancel(reason);
    },
  });
}
