/**
 * A response that somebody else has ended, a timeout say, while its handler is still at work
 * (B-79): from then on the handler answers into a stand-in, whose end is recorded like any other.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { ServerResponse } from "node:http";

const handling = new AsyncLocalStorage<ServerResponse>();

/** Runs a handler so that what it ends can be told from what others end. */
export function asHandler<T>(res: ServerResponse, handler: () => T): T {
  return handling.run(res, handler);
}

/** Whether this very moment belongs to the handler of that response. */
export function isHandler(res: ServerResponse): boolean {
  return handling.getStore() === res;
}

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
  "write",
  "end",
  "destroy",
] as const;
const properties = ["statusCode", "statusMessage", "headersSent", "writableEnded"] as const;

/** Lets `res` act as a fresh response that leads nowhere; returns that response. */
export function detachResponse(res: ServerResponse): ServerResponse {
  const standIn = new ServerResponse(res.req);
  for (const name of methods) {
    Reflect.set(res, name, (...args: unknown[]): unknown => {
      const method = Reflect.get(standIn, name) as (...all: unknown[]) => unknown;
      const returned = method.apply(standIn, args);
      return returned === standIn ? res : returned;
    });
  }
  for (const name of properties) {
    Object.defineProperty(res, name, {
      configurable: true,
      get: () => Reflect.get(standIn, name) as unknown,
      set(value: unknown) {
        Reflect.set(standIn, name, value);
      },
    });
  }
  return standIn;
}
