/**
 * What a client that leaves leaves behind: who waits for it to take what was written, and what is
 * piped into its response.
 */
import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import type { Callback } from "./chunk.ts";

type Listener = (...args: unknown[]) => void;

export interface Waiting {
  /** The callback to write with instead of one that waits for the client. */
  readonly for: (done: Callback | undefined) => Callback | undefined;
  /** The client has left: tells all who wait. */
  readonly release: () => void;
}

/**
 * Who waits for the client of a response, by a callback or for "drain". Node calls back for nothing
 * that was not taken; before the end of a response all that can fail about a write is its client.
 */
export function createWaiting(res: ServerResponse, isOver: () => boolean): Waiting {
  const callbacks = new Set<Callback>();
  const emit = res.emit.bind(res);
  const listeners = Object.hasOwn(res, "on") ? takenOver(res) : new Set<Listener>();
  return {
    for: (done) => {
      if (done === undefined) return undefined;
      callbacks.add(done);
      return (error) => {
        if (callbacks.delete(done)) done(isOver() ? error : null);
      };
    },
    release: () => {
      for (const done of callbacks) done();
      callbacks.clear();
      for (const listener of listeners) listener.call(res);
      emit("drain");
    },
  };
}

/**
 * The listeners for "drain" of a response where a layer outside has taken them over, as compression
 * does: there the response's own event does not reach them.
 */
function takenOver(res: ServerResponse): Set<Listener> {
  const listeners = new Set<Listener>();
  const on = res.on.bind(res) as (name: string | symbol, listener: Listener) => ServerResponse;
  const remove = res.removeListener.bind(res);
  res.on = ((name: string | symbol, listener: Listener) => {
    if (name === "drain") listeners.add(listener);
    return on(name, listener);
  }) as typeof res.on;
  res.removeListener = ((name: string | symbol, listener: Listener) => {
    listeners.delete(listener);
    return remove(name, listener);
  }) as typeof res.removeListener;
  return listeners;
}

/** Ignores who destroys a stream without a reason while it is still wanted. */
export function keepFlowing(stream: Readable, isWanted: () => boolean): void {
  const destroy = stream.destroy.bind(stream);
  stream.destroy = (error) => {
    const isReasonless = error === undefined || error === null;
    return isReasonless && !stream.readableEnded && isWanted() ? stream : destroy(error);
  };
}

export interface Source {
  /** Something was piped into the response. */
  readonly watch: (piped: Readable) => void;
  /** Whether there is one that has not ended. */
  readonly isFlowing: () => boolean;
  /** Tells of a source that is gone already. */
  readonly check: () => void;
}

/**
 * Watches the last source of a response: keeps it flowing while it `isWanted`, and tells when it is
 * gone before its end, with its error if it had one.
 */
export function createSource(
  isWanted: () => boolean,
  onBroken: (error: Error | null) => void,
): Source {
  let source: Readable | undefined;
  function check(): void {
    if (source?.destroyed === true && !source.readableEnded) onBroken(source.errored);
  }
  return {
    watch: (piped) => {
      source = piped;
      keepFlowing(piped, isWanted);
      piped.once("close", check);
    },
    isFlowing: () => source?.readableEnded === false,
    check,
  };
}
