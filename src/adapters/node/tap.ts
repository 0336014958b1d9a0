/**
 * The tap on a Node response: sees every way of ending it and holds the end back until the record
 * is written (record, then answer). It decides nothing about recording; `onEnd` does. What reaches
 * the wire is what would reach it without the tap.
 */
import type { ServerResponse } from "node:http";
import type { Answer } from "../../http/answer.ts";
import { byName, saysOutcome } from "../../http/headers.ts";
import type { Captured } from "../../http/recorded.ts";
import type { Leaving } from "./client.ts";
import { callbackIn, isChunk, isRefused } from "./chunk.ts";
import { copyOf } from "./copy.ts";
import type { Copy } from "./copy.ts";
import { holdHead, sealResponse, setStatus } from "./seal.ts";
import type { HeldHead } from "./seal.ts";
import { wireOf } from "./wire.ts";
import type { Wire } from "./wire.ts";

export interface Tap {
  /** Largest body that is kept, in bytes. */
  readonly limitBytes: number;
  /**
   * Called once, before the end leaves; the response ends when it resolves: as it is, or with
   * another answer where its head has not left, and with a cut where it has.
   */
  readonly onEnd: (captured: Captured) => Promise<Answer | undefined>;
  /** Keeps the head back until the body begins or ends, so that another answer can leave. */
  readonly holdsHead: boolean;
  /** Called once when the response broke off before its end, by the server's own side. */
  readonly onCut: () => void;
  /** Whether an end with this status, now, is not the handler's: it is let through unrecorded. */
  readonly isForeign?: (status: number) => boolean;
  /** Whether the response is destroyed, now, by somebody whom its handler does not know of. */
  readonly isForeignCut?: (error: Error | undefined) => boolean;
  /** A foreign end was let through; the handler may still end the response in its own way. */
  readonly onForeign?: () => void;
}

/** Breaks a response off; resolves when the end it has instead has left, if it has one. */
export type Cut = () => Promise<unknown> | undefined;

/**
 * Puts the tap on a response that has not begun; `onto` is where its bytes go, by default to its
 * client. Returns what breaks the response off.
 */
export function tapResponse(res: ServerResponse, tap: Tap, onto?: Wire): Cut {
  const copy = copyOf(res, tap.limitBytes);
  let over: Promise<unknown> | undefined;
  let hasLeft = false;

  // The work is done and only its response cannot be kept: it must never run again (B-76, B-107).
  function abandon(): void {
    copy.abandon();
    res.end();
  }

  function cut(): Promise<unknown> | undefined {
    if (over !== undefined) return over;
    over = Promise.resolve();
    tap.onCut();
    return undefined;
  }

  const wire = onto ?? wireOf(res, leavingOf(copy, { abandon, cut }));
  const held = tap.holdsHead ? holdHead(res) : undefined;
  tapHead(res, copy, wire);
  // What comes late waits for the end: Node complains of it then, or ignores it as it would. What
  // the end itself writes, over HTTP/2, just passes.
  function isLate(out: () => unknown): boolean {
    if (hasLeft) out();
    else void over?.then(out);
    return hasLeft || over !== undefined;
  }

  res.write = ((chunk: unknown, encoding?: unknown, callback?: unknown): boolean => {
    const out = (): boolean => wire.write(chunk, encoding, callback);
    if (isLate(out)) return hasLeft;
    const leaving = isChunk(chunk) ? copy.add(chunk, encoding) : undefined;
    wire.headStands();
    held?.letGo();
    if (leaving === undefined) return out();
    return wire.write(leaving, undefined, callbackIn(encoding, callback));
  }) as typeof res.write;
  res.end = ((chunk?: unknown, encoding?: unknown, callback?: unknown): ServerResponse => {
    const out = (): void => wire.end(chunk, encoding, callback);
    if (isLate(out)) return res;
    if (isRefused(res, chunk)) {
      out(); // Node throws
      return res;
    }
    const last = copy.end(chunk, encoding);
    const done = callbackIn(chunk, encoding, callback);
    const finish = (instead?: Answer): void => {
      hasLeft = true; // what is written from here on is the doing of layers outside
      if (instead !== undefined) return endInstead(res, wire, [instead, held]);
      held?.letGo();
      return last === undefined ? out() : wire.end(last, undefined, done);
    };
    over = endAs(res, tap, { captured: copy.captured(), finish, wire });
    return res;
  }) as typeof res.end;
  res.destroy = (error) => {
    if (over === undefined && tap.isForeignCut?.(error) === true) return wire.drop();
    void cut();
    return wire.destroy(error);
  };
  return cut;
}

/** What its client's leaving means to a response. */
function leavingOf(
  copy: Copy,
  { abandon, cut }: { readonly abandon: () => void; readonly cut: Cut },
): Leaving {
  return {
    isKept: () => !copy.isAbandoned(),
    isOpenEnded: copy.isOpenEnded,
    onLeft: abandon,
    // A body that broke off midway is no outcome (B-111).
    onBroken: (error) => void (error === null ? abandon() : cut()),
  };
}

interface Ending {
  readonly captured: Captured;
  readonly finish: (instead?: Answer) => void;
  readonly wire: Wire;
}

/** Resolves when the end has left. */
function endAs(res: ServerResponse, tap: Tap, { captured, finish, wire }: Ending): Promise<void> {
  if (tap.isForeign?.(captured.status) === true) {
    finish();
    tap.onForeign?.();
    return Promise.resolve();
  }
  const unseal = sealResponse(res);
  const ended = tap.onEnd(captured).then((instead) => {
    unseal();
    finish(instead);
  });
  return ended.catch((error: unknown) => void wire.destroy(error as Error));
}

function endInstead(
  res: ServerResponse,
  wire: Wire,
  [{ status, headers, body }, held]: readonly [Answer, HeldHead | undefined],
): void {
  held?.drop();
  if (res.headersSent) return void wire.destroy(); // a cut: what has left is not the outcome
  for (const name of res.getHeaderNames()) if (saysOutcome(name)) res.removeHeader(name);
  setStatus(res, status);
  for (const [name, value] of byName(headers)) res.setHeader(name, value);
  wire.end(Buffer.from(body));
}

// Node itself comes through here too, for the implicit head of a first write.
function tapHead(res: ServerResponse, copy: Copy, wire: Wire): void {
  const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => ServerResponse;
  res.writeHead = (status: number, ...args: unknown[]) => {
    const stands = copy.head(args);
    const returned = writeHead(status, ...args);
    stands();
    wire.headStands();
    return returned;
  };
}
