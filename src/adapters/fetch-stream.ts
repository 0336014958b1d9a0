/**
 * A response body on its way to the client: kept for the record, its last byte held until that is
 * written.
 */
import type { Keep } from "../http/keep.ts";

type Read = () => Promise<ReadableStreamReadResult<Uint8Array>>;

export interface RecordedStream {
  readonly keep: Keep;
  /** Called once with the whole body (`undefined` when it was too large), before the last byte. */
  readonly onEnd: (body: Uint8Array | undefined) => Promise<unknown>;
  /** The body broke off: nothing whole can be recorded (B-111). */
  readonly onError: () => Promise<unknown>;
}

/**
 * Reads what of a body is there at once, up to `limitBytes`: `whole` when that is all of it, so
 * that a server can send it with its length as it would without the layer (B-19). `read` yields the
 * body from its start in any case.
 */
export async function readAhead(
  source: ReadableStream<Uint8Array>,
  limitBytes: number,
): Promise<{ readonly whole: Uint8Array<ArrayBuffer> | undefined; readonly read: Read }> {
  const reader = source.getReader();
  const chunks: Uint8Array[] = [];
  const queue: ReturnType<Read>[] = [];
  const read: Read = () => queue.shift() ?? reader.read();
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
      return { whole: Uint8Array.from(Buffer.concat(chunks)), read };
    }
    chunks.push(result.value);
    total += result.value.length;
  }
  clearTimeout(timer);
  return { whole: undefined, read };
}

/** Whether the platform made this stream of bytes it has, as it does for text, bytes and blobs. */
export function isMadeOfBytes(source: ReadableStream<Uint8Array>): boolean {
  try {
    source.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false; // a stream of the handler's own: it takes its time
  }
}

/**
 * Passes chunks on as they come. A reader that cancels changes nothing: the body is read to its
 * end (B-76).
 */
export function recordedStream(
  read: Read,
  { keep, onEnd, onError }: RecordedStream,
): ReadableStream<Uint8Array> {
  let held: Uint8Array = new Uint8Array(0);

  /** The next bytes that may leave; `undefined` at the end, when only the held byte is left. */
  async function next(): Promise<Uint8Array | undefined> {
    const { done, value } = await read().catch(async (error: unknown) => {
      await onError();
      throw error;
    });
    if (done) {
      await onEnd(keep.body());
      return undefined;
    }
    if (value.length === 0) return value;
    keep.add(value);
    const out = Buffer.concat([held, value.subarray(0, -1)]);
    held = Uint8Array.from(value.subarray(-1));
    return out;
  }

  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      let out = await next();
      while (out?.length === 0) out = await next();
      if (out !== undefined) return controller.enqueue(out);
      if (held.length > 0) controller.enqueue(held);
      return controller.close();
    },
    cancel: async () => {
      while ((await next()) !== undefined);
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
