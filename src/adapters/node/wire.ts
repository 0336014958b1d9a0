/**
 * A Node response as it was before the tap. When its client goes away the handler goes on as if it
 * had not (B-76): what it writes is swallowed, "close" is told after its end, and nobody who ends
 * the sources of a response without a client ends one that is being recorded.
 */
import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { callbackIn } from "./chunk.ts";
import type { Callback } from "./chunk.ts";
import { drainer } from "./wire/drain.ts";
import { mask } from "./seal.ts";
import { createSource } from "./wire/source.ts";

export interface Wire {
  readonly write: (chunk: unknown, encoding?: unknown, callback?: unknown) => boolean;
  readonly end: (chunk?: unknown, encoding?: unknown, callback?: unknown) => void;
  readonly destroy: (error?: Error) => ServerResponse;
  /** Lets the client go, and nothing else change. */
  readonly drop: () => ServerResponse;
  /** Whether what was piped into the response is gone before its end. */
  readonly isBroken: () => boolean;
  /** The head stands: by it the response may be over, if its client has left. */
  readonly headStands: () => void;
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
  const own = methodsOf(res);
  const receipts = createReceipts(() => over);
  const drain = drainer(res);
  const { socket } = res.req;
  // The client has gone, and it does not show.
  let reveal = res.closed ? pretendOpen(res) : undefined;
  let over = false;
  // Node tells of it later than streams are destroyed for it.
  const isAlone = (): boolean => !over && (reveal !== undefined || socket?.destroyed);
  const source = createSource(
    () => isAlone() && options.isKept(),
    (error) => isAlone() && options.onBroken(error),
  );

  res.emit = ((name: string | symbol, ...args: unknown[]): boolean => {
    if (name === "pipe") source.watch(args[0] as Readable);
    if (over || (name !== "close" && name !== "finish")) return own.emit(name, ...args);
    if (name === "finish" || reveal !== undefined) return false;
    reveal = pretendOpen(res);
    if (options.isOpenEnded()) return leaveOpenEnded();
    source.check();
    // Somebody may be waiting for the client that will never read on.
    receipts.giveAll();
    drain();
    return true;
  }) as typeof res.emit;

  function leaveOpenEnded(): boolean {
    options.onLeft();
    return leave();
  }

  function leave(): boolean {
    over = true;
    reveal?.();
    return own.emit("close");
  }

  return {
    write: (chunk, encoding, callback) => {
      const done = callbackIn(encoding, callback);
      if (reveal !== undefined) return swallow(done);
      if (done === undefined) return own.write(chunk, encoding);
      const named = callbackIn(encoding) === undefined ? encoding : undefined;
      return own.write(chunk, named, receipts.for(done));
    },
    end: (chunk, encoding, callback) => {
      if (reveal === undefined) {
        over = true;
        return own.end(chunk, encoding, callback);
      }
      swallow(callbackIn(chunk, encoding, callback));
      if (over) return;
      own.emit("finish");
      leave();
    },
    destroy: (error) => {
      over = true;
      reveal?.();
      return own.destroy(error);
    },
    drop: () => own.destroy(),
    isBroken: source.isBroken,
    headStands: () => {
      const isLeft = reveal !== undefined && !over && options.isOpenEnded();
      if (isLeft) process.nextTick(() => over || leaveOpenEnded());
    },
  };
}

interface OwnMethods extends Pick<Wire, "write" | "end" | "destroy"> {
  readonly emit: (name: string | symbol, ...args: unknown[]) => boolean;
}

function methodsOf(res: ServerResponse): OwnMethods {
  return {
    write: res.write.bind(res) as OwnMethods["write"],
    end: res.end.bind(res) as OwnMethods["end"],
    destroy: res.destroy.bind(res),
    emit: res.emit.bind(res) as OwnMethods["emit"],
  };
}

function swallow(done: Callback | undefined): true {
  if (done !== undefined) process.nextTick(done);
  return true;
}

interface Receipts {
  readonly for: (done: Callback) => Callback;
  readonly giveAll: () => void;
}

// Node never calls back for what its client did not take. Before the end of a response all that can
// fail about a write is the client.
function createReceipts(isOver: () => boolean): Receipts {
  const waiting = new Set<Callback>();
  return {
    for: (done) => {
      waiting.add(done);
      return (error) => {
        if (waiting.delete(done)) done(isOver() ? error : null);
      };
    },
    giveAll: () => {
      for (const done of waiting) done();
      waiting.clear();
    },
  };
}

// What tells Node's own pipeline, and whoever asks for a finished response, that nobody is there.
function pretendOpen(res: ServerResponse): () => void {
  const open = { configurable: true, writable: true, value: false };
  const writable = { writable: { value: true } };
  const socket: unknown = res.socket === null ? null : Object.create(res.socket, writable);
  return mask(res, { destroyed: open, closed: open, socket: { ...open, value: socket } });
}
