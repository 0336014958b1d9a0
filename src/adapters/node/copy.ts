/**
 * The copy of a Node response that its record is made of: its head as the handler left it, its body
 * as far as that can be kept, and what of it has to be held back until the record is written.
 */
import type { ServerResponse } from "node:http";
import type { HeaderList } from "../../http/answer.ts";
import { createHold } from "../../http/hold.ts";
import { createKeep } from "../../http/keep.ts";
import type { Captured } from "../../http/recorded.ts";
import { bytesOf, isChunk } from "./chunk.ts";
import { headersOf, headersWith, isBodiless, isEventStream, isLengthKnown } from "./head.ts";

export interface Copy {
  /** Takes what `writeHead` is called with; returns what is to be called once the head stands. */
  readonly head: (args: readonly unknown[]) => () => void;
  /** Takes a piece of the body; returns what of it may leave, `undefined` when all of it may. */
  readonly add: (chunk: string | Uint8Array, encoding: unknown) => Buffer | undefined;
  /**
   * Takes the last piece, if there is one; returns what leaves in its place, `undefined` when that
   * is the piece itself.
   */
  readonly end: (chunk: unknown, encoding: unknown) => Buffer | undefined;
  /** The response, once it was ended. */
  readonly captured: () => Captured;
  /** Nothing of the body can be replayed. */
  readonly abandon: () => void;
  readonly isAbandoned: () => boolean;
  /** Whether its client's leaving is its end. */
  readonly isOpenEnded: () => boolean;
}

const nothing: Buffer = Buffer.alloc(0);

/** A copy of at most `limitBytes` of body. */
export function copyOf(res: ServerResponse, limitBytes: number): Copy {
  const kept = createKeep(limitBytes);
  const hold = createHold();
  // Before a layer outside (compression) adds its own, when the head is written.
  let headers: HeaderList | undefined;
  const sealed = (): HeaderList => (headers ??= headersOf(res));

  return {
    head: (args) => {
      const given = headers ?? headersWith(headersOf(res), args);
      return () => void (headers = given);
    },
    add: (chunk, encoding) => {
      const bytes = bytesOf(chunk, encoding);
      // An event must not wait for its last byte, and a stream of them is no replay (B-110).
      if (isEventStream(sealed())) kept.abandon();
      else kept.add(bytes);
      // A body of known length ends with its last byte, any other with what Node adds at its end.
      return isLengthKnown(sealed()) ? hold.next(bytes) : undefined;
    },
    end: (chunk, encoding) => {
      const bytes = isChunk(chunk) ? bytesOf(chunk, encoding) : nothing;
      kept.add(bytes);
      const rest = hold.rest();
      return rest.length === 0 ? undefined : Buffer.concat([rest, bytes]);
    },
    captured: () => {
      const body = isBodiless(res) ? nothing : kept.body();
      return { status: res.statusCode, headers: sealed(), body };
    },
    abandon: kept.abandon,
    isAbandoned: kept.isOver,
    isOpenEnded: () => isEventStream(headers ?? headersOf(res)),
  };
}
