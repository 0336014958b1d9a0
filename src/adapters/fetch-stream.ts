/**
 * A response body on its way to the client: kept for the record, its last byte held until that is
 * written.
 */
import type { Keep } from "../http/keep.ts";

export interface RecordedStream {
  readonly keep: Keep;
  /** Called once with the whole body (`undefined` when it was too large), before the last byte. */
  readonly onEnd: (body: Uint8Array | undefined) => Promise<unknown>;
  /** The body broke off: nothing whole can be recorded (B-111). */
  readonly onError: () => Promise<unknown>;
}

/**
 * Passes chunks on as they come. A reader that cancels changes nothing: the body is read to its
 * end (B-76).
 */
export function recordedStream(
  source: ReadableStream<Uint8Array>,
  { keep, onEnd, onError }: RecordedStream,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  let held: Uint8Array = new Uint8Array(0);

  /** The next bytes that may leave; `undefined` at the end, when only the held byte is left. */
  async function next(): Promise<Uint8Array | undefined> {
    const { done, value } = await reader.read().catch(async (error: unknown) => {
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
 * nothing to replay (B-110). It is over when its reader or its source ends it.
 */
export function eventStream(
  source: ReadableStream<Uint8Array>,
  { onEnd }: Pick<RecordedStream, "onEnd">,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = await reader.read();
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
