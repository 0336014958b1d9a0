/**
 * A response that somebody else has ended, a timeout say, while its handler is still at work
 * (B-79): from then on the handler answers into a stand-in, whose end is recorded like any other.
 */
import { ServerResponse } from "node:http";
import type { OutgoingHttpHeaders } from "node:http";
import { callbackIn } from "./chunk.ts";
import type { Wire } from "./wire.ts";

const methods = [
  "setHeader",
  "getHeader",
  "getHeaders",
  "getHeaderNames",
  "hasHeader",
  "removeHeader",
  "appendHeader",
  "writeHead",
  "flushHeaders",
  "addTrailers",
  "write",
  "end",
  "destroy",
  "on",
  "once",
  "addListener",
  "prependListener",
  "off",
  "removeListener",
  "listenerCount",
] as const;
const settings = ["statusCode", "statusMessage"] as const;
const states = [
  "headersSent",
  "writableEnded",
  "writableFinished",
  "finished",
  "destroyed",
  "closed",
  "socket",
] as const;

type Emit = (name: string | symbol, ...args: unknown[]) => boolean;

/** A response as its handler got it. */
export interface Beginning {
  readonly statusCode: number;
  readonly headers: OutgoingHttpHeaders;
}

/** Lets `res` act as in the beginning, its bytes leading nowhere; returns what it acts as. */
export function standInFor(res: ServerResponse, before: Beginning): ServerResponse {
  const standIn = new ServerResponse(res.req);
  standIn.statusCode = before.statusCode;
  for (const [name, value] of Object.entries(before.headers)) {
    if (value !== undefined) standIn.setHeader(name, value);
  }
  for (const name of methods) {
    Reflect.set(res, name, (...args: unknown[]): unknown => {
      const method = Reflect.get(standIn, name) as (...all: unknown[]) => unknown;
      const returned = method.apply(standIn, args);
      return returned === standIn ? res : returned;
    });
  }
  // Who listened before is told of the response that was sent, who listens now of the handler's.
  const tellBefore = res.emit.bind(res) as Emit;
  const tellNow = standIn.emit.bind(standIn) as Emit;
  const emit: Emit = (name, ...args) =>
    name === "finish" || name === "close" ? tellBefore(name, ...args) : tellNow(name, ...args);
  res.emit = emit as typeof res.emit;
  for (const name of [...settings, ...states]) {
    const isSetting = (settings as readonly string[]).includes(name);
    Object.defineProperty(res, name, {
      configurable: true,
      get: () => Reflect.get(standIn, name) as unknown,
      // Node goes on to note what becomes of the response it has sent.
      set(value: unknown) {
        if (isSetting) Reflect.set(standIn, name, value);
      },
    });
  }
  return standIn;
}

/**
 * Where a stand-in's bytes go: nowhere, as fast as they come. Its listeners are told of its end
 * where `isEnd` says that it was one.
 */
export function nowhere(standIn: ServerResponse, isEnd: () => boolean): Wire {
  function tell(): void {
    if (isEnd()) for (const name of ["finish", "close"]) standIn.emit(name);
  }
  function take(...args: readonly unknown[]): void {
    if (!standIn.headersSent) standIn.writeHead(standIn.statusCode);
    const done = callbackIn(...args);
    if (done !== undefined) process.nextTick(done);
  }
  return {
    write: (...args) => {
      take(...args);
      return true;
    },
    end: (...args) => {
      take(...args);
      process.nextTick(tell);
    },
    destroy: () => standIn,
    drop: () => standIn,
    headStands: () => undefined,
  };
}
