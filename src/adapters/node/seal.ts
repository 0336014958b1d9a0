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
const sealedHead: PropertyDescriptorMap = {
  headersSent: sent,
  setHeader: refused,
  appendHeader: refused,
  removeHeader: refused,
  writeHead: refused,
};
const sealed: PropertyDescriptorMap = {
  ...sealedHead,
  writableEnded: sent,
  flushHeaders: ignored,
  addTrailers: ignored,
};

/** Seals a response that was ended; returns what opens it again, for its end to be written. */
export function sealResponse(res: ServerResponse): () => void {
  const { statusCode } = res;
  const reason = hasReason(res) ? res.statusMessage : "";
  const unmask = mask(res, sealed);
  return () => {
    unmask();
    setStatus(res, statusCode, reason);
  };
}

/** Sets the status line; an empty reason stands for that of the status. */
export function setStatus(res: ServerResponse, status: number, reason = ""): void {
  res.statusCode = status;
  if (hasReason(res)) res.statusMessage = reason;
}

// HTTP/2 has none, and Node warns of its use there.
function hasReason({ req }: ServerResponse): boolean {
  return !(req.httpVersionMajor > 1);
}

export interface HeldHead {
  /** The body begins or ends: the head leaves, as it was asked for. */
  readonly letGo: () => void;
  /** Another answer leaves instead. */
  readonly drop: () => void;
}

/** Keeps the head of a response back, though for everybody else it has been sent. */
export function holdHead(res: ServerResponse): HeldHead {
  const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => ServerResponse;
  const flushHeaders = res.flushHeaders.bind(res);
  let isHeld = true;
  let asked: readonly unknown[] | undefined;
  let unmask: (() => void) | undefined;
  const drop = (): void => {
    isHeld = false;
    unmask?.();
    unmask = undefined;
  };
  const letGo = (): void => {
    drop();
    if (asked !== undefined && !res.headersSent) writeHead(...asked);
  };
  res.writeHead = (status: number, ...args: unknown[]) => {
    if (!isHeld) return writeHead(status, ...args);
    asked = [status, ...args];
    res.statusCode = status;
    unmask = mask(res, sealedHead);
    return res;
  };
  res.flushHeaders = () => {
    letGo();
    flushHeaders();
  };
  return { letGo, drop };
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
