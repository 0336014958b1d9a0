/**
 * A guarded response: whatever its handler does with it completes or releases the claim. Tells what
 * the handler ends from what a timeout ends in its place.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Answer } from "../../http/answer.ts";
import type { Execution } from "../../http/execution.ts";
import type { Captured } from "../../http/recorded.ts";
import { setHeaders } from "./exchange.ts";
import { nowhere, standInFor } from "./stand-in.ts";
import type { Beginning } from "./stand-in.ts";
import { tapResponse } from "./tap.ts";
import type { Cut, Tap } from "./tap.ts";

export interface Guard {
  /**
   * Runs the handler, or what leads to it: what it ends is told from what a timeout ends (B-79).
   */
  readonly run: <T>(handler: () => T) => T;
  /**
   * The handler threw: before its response has begun the client gets a 500, later a cut; after its
   * end nothing changes.
   */
  readonly fail: (error: unknown) => void;
  /** Whether a timeout has answered, so that nobody waits for the handler's response any longer. */
  readonly isDetached: () => boolean;
  /** Records what the adapter knows better than the tap; from then on the response just passes. */
  readonly settle: (captured: Captured) => Promise<Answer | undefined>;
}

/** What a framework knows of its handlers. */
export interface GuardOptions {
  /**
   * Whether the handler is at work, where that can be told: until it is not, nobody else's answer
   * frees the key, whatever its status.
   */
  readonly isAtWork?: () => boolean;
  /** Called when a timeout has answered in place of the handler. */
  readonly onDetached?: () => void;
}

interface Handling {
  readonly res: ServerResponse;
  readonly socket: Socket;
  readonly cut: Cut;
}
const handling = new AsyncLocalStorage<Handling>();

// Only what timeouts answer with: a driver may lose the handler's context, and then a plain 500 of
// its own must still free the key at once.
const timeouts: ReadonlySet<number> = new Set([408, 503, 504]);

/** Whether this very moment belongs to the handler of a response. */
function isInside(res: ServerResponse): boolean {
  return handling.getStore()?.res === res;
}

/** Guards a response that has not begun. */
export function guardResponse(
  res: ServerResponse,
  execution: Execution,
  { isAtWork, onDetached }: GuardOptions = {},
): Guard {
  let state: "waiting" | "running" | "detached" | "over" = "waiting";

  // Of several ends only the first counts.
  function settle(captured: Captured): Promise<Answer | undefined> {
    state = "over";
    return execution.settle(captured);
  }

  const isRunning = (): boolean => state === "running" || state === "detached";
  const isOutside = (): boolean => isRunning() && isAtWork?.() !== false && !isInside(res);

  function isForeign(status: number): boolean {
    if (!isOutside()) return false;
    if (isAtWork !== undefined) return state === "detached" || !execution.records(status);
    return state === "running" && timeouts.has(status) && !execution.records(status);
  }

  const tap: Tap = {
    limitBytes: execution.maxRecordedBytes,
    holdsHead: execution.isReplaceable,
    onEnd: settle,
    // A body that broke off midway is no outcome (B-111).
    onCut: () => {
      state = "over";
      void execution.release();
    },
    isForeign,
    // Who destroys a response for an error, or its handler, breaks it off; others make it lose its
    // client only.
    isForeignCut: (error) => {
      const isForeignCut = error === undefined && isOutside();
      if (isForeignCut) execution.detach();
      return isForeignCut;
    },
    onForeign: () => {
      state = "detached";
      execution.detach();
      const standIn = standInFor(res, before);
      cut = tapResponse(
        standIn,
        tap,
        nowhere(standIn, () => state === "over"),
      );
      onDetached?.();
    },
  };

  setHeaders(res, execution.headers);
  const before: Beginning = { statusCode: res.statusCode, headers: res.getHeaders() };
  let cut = tapResponse(res, tap);
  watchConnection(res);
  const own: Handling = { res, socket: res.req.socket, cut: () => cut() };
  return {
    run: (handler) => {
      state = "running";
      return handling.run(own, handler);
    },
    fail: (error) => {
      if (state !== "over") handling.run(own, () => answerFailure(res, error));
    },
    isDetached: () => state === "detached",
    settle,
  };
}

/**
 * The handler threw: before its response has begun the client gets a 500, later a cut; what it had
 * ended stands.
 */
export function answerFailure(res: ServerResponse, error: unknown): void {
  if (res.writableEnded) return;
  if (res.headersSent) res.destroy(error instanceof Error ? error : undefined);
  else res.writeHead(500, { "content-type": "text/plain" }).end("Internal Server Error");
}

const watched = new WeakSet<Socket>();

// Express cuts the connection of a half-sent response whose handler failed. Seen from the response
// alone, that would look like its client's leaving, and nobody would ever end it.
function watchConnection({ req: { socket, httpVersionMajor } }: ServerResponse): void {
  const isReal = httpVersionMajor === 1 && typeof socket?.destroy === "function";
  if (!isReal || watched.has(socket)) return;
  watched.add(socket);
  let isTimedOut = false; // then it is Node that cuts, perhaps on a timer of the handler's
  socket.prependListener("timeout", () => void (isTimedOut = true));
  const destroy = socket.destroy.bind(socket);
  async function destroyAfter(leaving: Promise<unknown>): Promise<void> {
    await leaving;
    destroy();
  }
  socket.destroy = (error) => {
    const current = handling.getStore();
    const isOpen = !socket.readableEnded && !socket.writableEnded && !isTimedOut;
    const isCut = error === undefined && isOpen && current?.res.headersSent === true;
    const leaving = isCut && current.socket === socket ? current.cut() : undefined;
    if (leaving === undefined) return destroy(error);
    void destroyAfter(leaving);
    return socket;
  };
}
