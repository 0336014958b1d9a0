/** A stream in a Koa context on its way to the client, kept for the record. */
import { Readable } from "node:stream";
import type { Answer } from "../../http/answer.ts";
import { createHold } from "../../http/hold.ts";
import { createKeep } from "../../http/keep.ts";
import type { Captured } from "../../http/recorded.ts";
import { isLengthKnown } from "../node/head.ts";
import { keepFlowing } from "../node/left-behind.ts";

/** How a stream ends the claim. */
export interface StreamRecording {
  /** Largest body that is kept, in bytes. */
  readonly limitBytes: number;
  /** Resolves to the answer that must leave instead, if there is one. */
  readonly settle: (captured: Captured) => Promise<Answer | undefined>;
  /** The body broke off midway (B-111). */
  readonly release: () => Promise<void>;
  /** Whether the client has left. */
  readonly isGone: () => boolean;
}

/**
 * The stream to send instead of `source`: it ends when the record is written. What can be recorded
 * is read whether or not somebody takes it: a client that leaves, a timeout, or a layer that
 * answers otherwise changes nothing (B-76, B-79). Beyond that its reader sets the pace.
 */
export function recordedStream(
  source: Readable,
  head: Omit<Captured, "body">,
  { limitBytes, settle, release, isGone }: StreamRecording,
): Readable {
  const keep = createKeep(limitBytes);
  const hold = createHold();
  const isHeld = isLengthKnown(head.headers);
  // Koa 2 listens to the streams it is given; it need not hear of one error twice.
  const isTold = source.listenerCount("error") > 0;
  const sent = new Readable({
    highWaterMark: limitBytes,
    read: () => void source.resume(),
    destroy: (error, done) => {
      if (keep.isOver()) source.destroy();
      else source.resume();
      done(error);
    },
  });
  // Koa destroys it when the client leaves.
  keepFlowing(source, () => isGone() && !keep.isOver());

  source.on("data", (chunk: Buffer | string) => {
    const bytes = Buffer.from(chunk as Buffer);
    keep.add(bytes);
    const isFull = !sent.destroyed && !sent.push(isHeld ? hold.next(bytes) : bytes);
    if (isFull) source.pause();
    if (sent.destroyed && keep.isOver()) source.destroy();
  });
  source.once("end", () => {
    void settle({ ...head, body: keep.body() }).then((instead) => {
      if (instead !== undefined) sent.destroy(notCommitted());
      if (sent.destroyed) return;
      if (isHeld) sent.push(hold.rest());
      sent.push(null);
    });
  });
  source.once("close", () => {
    if (source.readableEnded) return;
    // A body that broke off midway is no outcome (B-111); one that only nobody took is, and must
    // never run again (B-76).
    const isOnlyUntaken = source.errored === null && isGone();
    const isSettled = isOnlyUntaken ? settle({ ...head, body: undefined }) : release();
    void isSettled.then(() => sent.destroy(isTold ? undefined : (source.errored ?? undefined)));
  });
  source.once("error", () => undefined); // told with "close"
  return sent;
}

// Its beginning has left already: another answer cannot.
function notCommitted(): Error {
  return new Error("The transaction of this response was not committed; the response is cut off.");
}
