/**
 * A guarded response: whatever its handler does with it completes or releases the claim. Tells what
 * the handler ends from what a timeout ends in its place.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
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
  readonly settle: (captured: Captured) => Promise<void>;
}

interface Handling {
  readonly res: ServerResponse;
  readonly cut: Cut;
}
const handling = new AsyncLocalStorage<Handling>();

// Only what timeouts answer with: a driver may lose the handler's context, and then a plain 500 of
// its own must still free the key at once.
const timeouts: ReadonlySet<number> = new Set([408, 503, 504]);

/**
 * Guards a response that has not begun. `onDetached` is called when a timeout has answered in place
 * of the handler.
 */
export function guardResponse(
  res: ServerResponse,
  execution: Execution,
  onDetached?: () => void,
): Guard {
  let state: "waiting" | "running" | "detached" | "over" = "waiting";
  const tap: Tap = {
    limitBytes: execution.maxRecordedBytes,
    onEnd: settle,
    // A body that broke off midway is no outcome (B-111).
    onCut: () => {
      state = "over";
      void execution.release();
    },
  };

  // Of several ends only the first counts.
  async function settle(captured: Captured): Promise<void> {
    state = "over";
    await execution.settle(captured);
  }

  const isOutside = (): boolean => state === "running" && handling.getStore()?.res !== res;

  function isForeign(status: number): boolean {
    return timeouts.has(status) && isOutside() && !execution.records(status);
  }

  // Who destroys a response for an error, or its handler, breaks it off; others make it lose its
  // client only.
  function isForeignCut(error: unknown): boolean {
    const isForeign = error === undefined && isOutside();
    if (isForeign) execution.detach();
    return isForeign;
  }

  function onForeign(): void {
    state = "detached";
    execution.detach();
    const standIn = standInFor(res, before);
    cut = tapResponse(standIn, tap, nowhere(standIn, res));
    onDetached?.();
  }

  setHeaders(res, execution.headers);
  const before: Beginning = { statusCode: res.statusCode, headers: res.getHeaders() };
  let cut = tapResponse(res, { ...tap, isForeign, isForeignCut, onForeign });
  const own: Handling = { res, cut: () => cut() };
  return {
    run: (handler) => {
      state = "running";
      watchConnection(res);
      return handling.run(own, handler);
    },
    fail: (error) => {
      if (state === "over") return;
      if (res.headersSent) res.destroy(error instanceof Error ? error : undefined);
      else handling.run(own, () => answerFailure(res));
    },
    isDetached: () => state === "detached",
    settle,
  };
}

/** Answers 500. */
export function answerFailure(res: ServerResponse): void {
  res.writeHead(500, { "content-type": "text/plain" }).end("Internal Server Error");
}

const watched = new WeakSet<Socket>();

// Express cuts the connection of a half-sent response whose handler failed. Seen from the response
// alone, that would look like its client's leaving, and nobody would ever end it.
function watchConnection({ req: { socket, httpVersionMajor } }: ServerResponse): void {
  if (httpVersionMajor > 1 || watched.has(socket)) return;
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
    const leaving = isCut && current.res.req.socket === socket ? current.cut() : undefined;
    if (leaving === undefined) return destroy(error);
    void destroyAfter(leaving);
    return socket;
  };
}
