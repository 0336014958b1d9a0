/**
 * A Node response as it was before the tap. When its client goes away the handler goes on as if it
 * had not (B-76): what it writes is swallowed, "close" is told after its end, and nobody who ends
 * the sources of a response without a client ends one that is being recorded.
 */
import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { callbackIn } from "./chunk.ts";
import { mask } from "./seal.ts";

export interface Wire {
  readonly write: (chunk: unknown, encoding?: unknown, callback?: unknown) => boolean;
  readonly end: (chunk?: unknown, encoding?: unknown, callback?: unknown) => void;
  readonly destroy: (error?: Error) => ServerResponse;
}

export interface WireOptions {
  /** Whether what is written is still wanted for the record. */
  readonly isKept: () => boolean;
  /** Whether its client's leaving is its end: then that is told at once, and `onLeft` called. */
  readonly isOpenEnded: () => boolean;
  readonly onLeft: () => void;
  /** Nobody is left to end the response: its client has gone, and so has what was piped into it. */
  readonly onBroken: (error: Error | null) => void;
}

/** Takes the response's own methods, and stands between it and its client's leaving. */
export function wireOf(res: ServerResponse, options: WireOptions): Wire {
  const { isKept, isOpenEnded, onLeft, onBroken } = options;
  const write = res.write.bind(res) as Wire["write"];
  const end = res.end.bind(res) as Wire["end"];
  const destroy = res.destroy.bind(res);
  const emit = res.emit.bind(res) as (name: string | symbol, ...args: unknown[]) => boolean;
  let source: Readable | undefined;
  let reveal: (() => void) | undefined; // the client has gone, and it does not show
  let over = false;

  res.emit = ((name: string | symbol, ...args: unknown[]): boolean => {
    if (name === "pipe") watch(args[0] as Readable);
    if (over || (name !== "close" && name !== "finish")) return emit(name, ...args);
    if (name === "finish" || reveal !== undefined) return false;
    reveal = pretendOpen(res);
    if (isOpenEnded()) {
      onLeft();
      return leave();
    }
    checkSource();
    return emit("drain"); // somebody may be waiting for the client that will never read on
  }) as typeof res.emit;

  function leave(): boolean {
    over = true;
    reveal?.();
    return emit("close");
  }

  function watch(piped: Readable): void {
    source = piped;
    keepFlowing(piped, () => reveal !== undefined && !over && isKept());
    piped.once("close", checkSource);
  }

  function checkSource(): void {
    const isCut = source?.destroyed === true && !source.readableEnded;
    if (isCut && reveal !== undefined && !over) onBroken(source?.errored ?? null);
  }

  return {
    write: (chunk, encoding, callback) => {
      if (reveal === undefined) return write(chunk, encoding, callback);
      const done = callbackIn(encoding, callback);
      if (done !== undefined) process.nextTick(done);
      return true;
    },
    end: (chunk, encoding, callback) => {
      if (reveal === undefined) {
        over = true;
        end(chunk, encoding, callback);
        return;
      }
      const done = callbackIn(chunk, encoding, callback);
      if (done !== undefined) process.nextTick(done);
      if (over) return;
      emit("finish");
      leave();
    },
    destroy: (error) => {
      over = true;
      reveal?.();
      return destroy(error);
    },
  };
}

/** Ignores who destroys a stream without a reason while it is still wanted. */
export function keepFlowing(stream: Readable, isWanted: () => boolean): void {
  const destroy = stream.destroy.bind(stream);
  stream.destroy = (error) => {
    const isReasonless = error === undefined || error === null;
    return isReasonless && !stream.readableEnded && isWanted() ? stream : destroy(error);
  };
}

// What tells Node's own pipeline, and whoever asks for a finished response, that nobody is there.
function pretendOpen(res: ServerResponse): () => void {
  const open = { configurable: true, writable: true, value: false };
  const socket =
    res.socket === null ? null : Object.create(res.socket, { writable: { value: true } });
  return mask(res, {
    destroyed: open,
    closed: open,
    socket: { ...open, value: socket as unknown },
  });
}
