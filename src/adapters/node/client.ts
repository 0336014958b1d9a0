/**
 * The client of a tapped response. When it leaves that does not show before the end: "close" is
 * told then, the marks of a response without a client are hidden, and nobody who ends the sources
 * of such a response ends one that is being recorded (B-76).
 */
import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import type { Callback } from "./chunk.ts";
import { createSource, createWaiting } from "./left-behind.ts";
import { mask } from "./seal.ts";

/** What its client's leaving means to a response. */
export interface Leaving {
  /** Whether what is written is still wanted for the record. */
  readonly isKept: () => boolean;
  /** Whether its client's leaving is its end: then that is told at once, and `onLeft` called. */
  readonly isOpenEnded: () => boolean;
  readonly onLeft: () => void;
  /** Nobody is left to end the response: its client has gone, and so has what was piped into it. */
  readonly onBroken: (error: Error | null) => void;
}

export interface Client {
  readonly isGone: () => boolean;
  /** The end has been given to the client, or it has been cut off: its leaving shows again. */
  readonly letGo: () => void;
  /** The handler has ended the response of a client that is gone. */
  readonly leaveAtEnd: () => void;
  /** Something more was written for a client that is gone: nobody may want the rest. */
  readonly giveUp: () => void;
  /** The callback to write with, instead of one that waits for the client. */
  readonly receipt: (done: Callback | undefined) => Callback | undefined;
  /** The head stands: by it the response may be over, if its client has left. */
  readonly headStands: () => void;
}

/** Stands between a response and its client's leaving. */
export function clientOf(res: ServerResponse, leaving: Leaving): Client {
  const emit = res.emit.bind(res) as (name: string | symbol, ...args: unknown[]) => boolean;
  const { socket } = res.req;
  const waiting = createWaiting(res, () => isOver);
  // The client has gone, and it does not show. A response over HTTP/2 does not tell of that itself.
  const hasLeft = "closed" in res ? res.closed : socket.destroyed;
  let reveal = hasLeft ? pretendOpen(res) : undefined;
  let isOver = false;
  // Node tells of it later than streams are destroyed for it.
  const isAlone = (): boolean => !isOver && (reveal !== undefined || socket?.destroyed);
  const source = createSource(
    () => isAlone() && leaving.isKept(),
    (error) => isAlone() && leaving.onBroken(error),
  );

  function letGo(): void {
    isOver = true;
    reveal?.();
  }

  function leave(): boolean {
    letGo();
    return emit("close");
  }

  function leaveOpenEnded(): boolean {
    leaving.onLeft();
    return leave();
  }

  // Nobody takes it and it cannot be recorded: a stream may have no other end than its client's.
  function giveUp(): void {
    if (isAlone() && !leaving.isKept() && source.isFlowing()) leaving.onBroken(null);
  }

  function goOn(): boolean {
    reveal = pretendOpen(res);
    if (leaving.isOpenEnded()) return leaveOpenEnded();
    source.check();
    giveUp();
    waiting.release();
    return true;
  }

  res.emit = ((name: string | symbol, ...args: unknown[]): boolean => {
    if (name === "pipe") source.watch(args[0] as Readable);
    if (isOver || (name !== "close" && name !== "finish")) return emit(name, ...args);
    return name === "close" && reveal === undefined && goOn();
  }) as typeof res.emit;

  return {
    isGone: () => reveal !== undefined,
    letGo,
    leaveAtEnd: () => {
      if (isOver) return;
      emit("finish");
      leave();
    },
    giveUp,
    receipt: waiting.for,
    headStands: () => {
      const isLeft = reveal !== undefined && !isOver && leaving.isOpenEnded();
      if (isLeft) process.nextTick(() => isOver || leaveOpenEnded());
    },
  };
}

// What tells Node's own pipeline, and whoever asks for a finished response, that nobody is there.
function pretendOpen(res: ServerResponse): () => void {
  const open = { configurable: true, writable: true, value: false };
  const writable = { writable: { value: true } };
  const socket: unknown = res.socket && Object.create(res.socket, writable);
  return mask(res, {
    destroyed: open,
    closed: open,
    writableNeedDrain: open, // or what is piped in from now on would wait for a "drain"
    socket: { ...open, value: socket },
  });
}
