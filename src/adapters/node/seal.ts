/**
 * A response between its end and the moment its end leaves: for everybody else it has been sent
 * already, as it would be without the layer. What went into the record is what goes out.
 */
import type { ServerResponse } from "node:http";

function tooLate(): never {
  const message = "Cannot set headers after they are sent to the client";
  throw Object.assign(new Error(message), { code: "ERR_HTTP_HEADERS_SENT" });
}

const sent: PropertyDescriptor = { configurable: true, get: () => true };
const refused: PropertyDescriptor = { configurable: true, writable: true, value: tooLate };
const ignored: PropertyDescriptor = { configurable: true, writable: true, value: () => undefined };
const sealed: PropertyDescriptorMap = {
  headersSent: sent,
  writableEnded: sent,
  setHeader: refused,
  appendHeader: refused,
  removeHeader: refused,
  writeHead: refused,
  flushHeaders: ignored,
  addTrailers: ignored,
};

/** Seals a response that was ended; returns what opens it again, for its end to be written. */
export function sealResponse(res: ServerResponse): () => void {
  const { statusCode, statusMessage } = res;
  const unmask = mask(res, sealed);
  return () => {
    unmask();
    res.statusCode = statusCode;
    res.statusMessage = statusMessage;
  };
}

/** Gives an object other properties for a while; returns what takes them back. */
export function mask(target: object, properties: PropertyDescriptorMap): () => void {
  const before = Object.keys(properties).map(
    (name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const,
  );
  Object.defineProperties(target, properties);
  return () => {
    for (const [name, descriptor] of before) {
      if (descriptor === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, descriptor);
    }
  };
}
