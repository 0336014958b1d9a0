/** Requests over a bare socket, and the very bytes that come back: what no HTTP client shows. */
import { once } from "node:events";
import type { Server } from "node:http";
import { connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";

export interface RawRequest {
  /** Default `POST`. */
  readonly method?: string;
  /** Default `/r`. */
  readonly path?: string;
  /** Default `1.1`. */
  readonly version?: "1.0" | "1.1";
  /** Beside `Host` and, unless it is overruled, `Idempotency-Key: k`. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Sent with its length, unless `Transfer-Encoding` is among the headers. Default none. */
  readonly body?: string | Buffer;
}

/** A request as its bytes. */
export function rawRequest(request: RawRequest = {}): Buffer {
  const { method = "POST", path = "/r", version = "1.1", body } = request;
  const isChunked = request.headers?.["transfer-encoding"] !== undefined;
  const headers = {
    host: "test",
    "idempotency-key": "k",
    ...(body === undefined || isChunked
      ? {}
      : { "content-length": String(Buffer.byteLength(body)) }),
    ...request.headers,
  };
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}\r\n`],
  );
  const head = `${method} ${path} HTTP/${version}\r\n${lines.join("")}\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(body ?? "")]);
}

/** The port of a server, which is made to listen on an ephemeral one if it does not yet. */
export async function portOf(server: Pick<Server, "listening" | "listen" | "address" | "once">) {
  if (!server.listening) {
    server.listen(0, "127.0.0.1");
    await once(server as Server, "listening");
  }
  return (server.address() as AddressInfo).port;
}

/** A socket, and all that has come over it so far. */
export interface RawSocket {
  readonly socket: Socket;
  readonly received: () => string;
  /** Resolves to all that came when the server has closed the connection. */
  readonly closed: Promise<string>;
}

export function openRaw(port: number): RawSocket {
  const chunks: Buffer[] = [];
  const socket = connect(port, "127.0.0.1");
  const received = () => Buffer.concat(chunks).toString("latin1");
  socket.on("data", (chunk) => chunks.push(chunk));
  const closed = new Promise<string>((resolve) => {
    // A connection that the server cut shows by what is missing.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(received()));
  });
  return { socket, received, closed };
}

const farewell = rawRequest({
  method: "GET",
  path: "/farewell",
  headers: { connection: "close", "idempotency-key": undefined },
});

/**
 * The bytes a server answers with, their dates masked. Where the request keeps the connection,
 * another follows on it, so that what the first leaves behind shows, too.
 */
export async function bytesOf(port: number, request: RawRequest = {}): Promise<string> {
  const { socket, closed } = openRaw(port);
  const isLast = request.version === "1.0" || request.headers?.["connection"] === "close";
  socket.write(Buffer.concat([rawRequest(request), ...(isLast ? [] : [farewell])]));
  return (await closed).replaceAll(/^date: .*$/gim, "date: masked");
}
