/** One POST over a bare socket: every byte of the answer, as it came. */
import { once } from "node:events";
import { connect } from "node:net";

export interface RawAnswer {
  readonly status: number;
  /** The lines of the head in their order, but for `Date`. */
  readonly head: readonly string[];
  /** The body's bytes as latin1, its chunks joined: their sizes are the sender's own affair. */
  readonly body: string;
}

/** Posts `{"n":"1"}` to a path of a server of this machine, with header lines beside the usual. */
export async function rawPost(
  port: number,
  path: string,
  headers: readonly string[] = [],
): Promise<RawAnswer> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const lines = [
    `POST ${path} HTTP/1.1`,
    "Host: localhost",
    "Connection: close",
    "Content-Type: application/json",
    "Content-Length: 9",
    ...headers,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n{"n":"1"}`);
  const chunks = await socket.toArray();
  const [start = "", ...rest] = Buffer.concat(chunks as Buffer[])
    .toString("latin1")
    .split("\r\n\r\n");
  const head = start.split("\r\n").filter((line) => !/^date:/i.test(line));
  const body = rest.join("\r\n\r\n");
  const isChunked = /^transfer-encoding: chunked$/im.test(start);
  return { status: Number(start.slice(9, 12)), head, body: isChunked ? joined(body) : body };
}

/** The content of a chunked body, which must have come to its proper end. */
function joined(body: string): string {
  const size = Number.parseInt(body, 16);
  const from = body.indexOf("\r\n") + 2;
  if (Number.isNaN(size)) throw new Error("The chunked body was cut off.");
  return size === 0 ? "" : body.slice(from, from + size) + joined(body.slice(from + size + 2));
}
