/**
 * A client on a bare socket, for what ready-made clients hide or refuse: several lines of one
 * header, bytes beyond ASCII, pipelining, half-closed connections, requests that break off, readers
 * that stop reading. Every wait ends at the connection's deadline.
 */
import { connect as connectTcp, isIP } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { readAnswer } from "./answer-reader.ts";
import type { Arriving } from "./answer-reader.ts";
import { createByteReader } from "./byte-reader.ts";
import type { Pairs } from "../instruction.ts";

/** A request as it goes over the wire; nothing is added but `Host`. */
export interface WireRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Values as latin1: one character, one byte. */
  readonly headers: Pairs;
  /** Sent as it is: its framing is a matter of the headers. */
  readonly body?: Uint8Array | undefined;
}

export interface Connection {
  /** Sends a request; resolves at once with the answer on its way. */
  readonly send: (request: WireRequest) => Arriving;
  /** Sends bytes as they are. */
  readonly write: (bytes: string | Uint8Array) => void;
  /** Starts to read the answer to what `write` has sent. */
  readonly answer: (method: string) => Arriving;
  /** Ends the sending side and goes on reading. */
  readonly endSending: () => void;
  /** Stops reading, so that the server's writes back up; `resume` goes on. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Cuts the connection off. */
  readonly close: () => void;
}

/**
 * A connected socket, TLS handshake done; rejects when there is none within `timeoutMs`. Its
 * errors after that end it, and are not thrown.
 */
export function openSocket(url: URL, timeoutMs: number): Promise<Socket> {
  const secure = url.protocol === "https:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port) || (secure ? 443 : 80);
  const name = isIP(host) === 0 ? { servername: host } : {};
  const socket = secure ? connectTls({ host, port, ...name }) : connectTcp({ host, port });
  socket.setNoDelay(true);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const timer = setTimeout(() => {
    socket.destroy(new Error(`no connection within ${timeoutMs} ms`));
  }, timeoutMs);
  socket.once(secure ? "secureConnect" : "connect", () => resolve(socket));
  // Stays for the socket's whole life: an error between two owners must not end the process.
  socket.on("error", reject);
  return promise.finally(() => clearTimeout(timer));
}

/** Connects; the connection is cut off `timeoutMs` after that, whatever it is doing. */
export async function connect(url: URL, timeoutMs: number): Promise<Connection> {
  const socket = await openSocket(url, timeoutMs);
  const deadline = setTimeout(() => {
    socket.destroy(new Error(`no complete answer within ${timeoutMs} ms`));
  }, timeoutMs);
  socket.once("close", () => clearTimeout(deadline));
  const reader = createByteReader(socket);
  // Answers come in the order of their requests (RFC 9112, 9.3.2).
  let before: Promise<unknown> = Promise.resolve();

  function answer(method: string): Arriving {
    const arriving = before.then(() => readAnswer(reader, method));
    const whole = arriving.then((one) => one.whole);
    before = whole;
    return {
      whole,
      begun: arriving.then((one) => one.begun),
      atLeast: async (bytes) => (await arriving).atLeast(bytes),
    };
  }

  return {
    answer,
    send: (request) => {
      socket.write(requestBytes(url, request));
      return answer(request.method);
    },
    write: (bytes) => void socket.write(typeof bytes === "string" ? latin1(bytes) : bytes),
    endSending: () => void socket.end(),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close: () => void socket.destroy(),
  };
}

/** One request on a connection of its own; rejects when there is no connection. */
export async function exchange(
  url: URL,
  request: WireRequest,
  timeoutMs: number,
): Promise<Awaited<Arriving["whole"]>> {
  const connection = await connect(url, timeoutMs);
  try {
    return await connection.send(request).whole;
  } finally {
    connection.close();
  }
}

/** The bytes of a request: its head, then its body. */
export function requestBytes(url: URL, request: WireRequest): Buffer {
  return Buffer.concat([headBytes(url, request), request.body ?? new Uint8Array(0)]);
}

/** The bytes of a request's head, with `Host`. */
export function headBytes({ host }: URL, { method, target, headers }: WireRequest): Buffer {
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`];
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  return latin1(`${lines.join("\r\n")}\r\n\r\n`);
}

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
