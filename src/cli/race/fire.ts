/**
 * Sends identical requests at the same instant: sockets are opened first, all but the last byte is
 * written, and one tick releases them all. What is sent and what it means live elsewhere.
 */
import { createHash } from "node:crypto";
import { request as httpRequest } from "node:http";
import type { ClientRequest, IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Socket } from "node:net";
import { openSocket } from "../../conformance/http/wire/connection.ts";
import type { Observation, Phase } from "./observation.ts";

/** One request, to be sent any number of times. */
export interface Shot {
  readonly phase: Phase;
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** `undefined` sends none. */
  readonly body: Buffer | undefined;
  /** For the connection, and again for the answer, in ms. */
  readonly timeoutMs: number;
  /** The round's beginning, as `performance.now()`. */
  readonly originMs: number;
}

/** Fires `count` copies at once. Never rejects and never outlasts two timeouts. */
export async function fire(
  shot: Shot,
  count: number,
  onAnswer: () => void = () => undefined,
): Promise<readonly Observation[]> {
  const loads = await Promise.all(Array.from({ length: count }, () => load(shot)));
  // One synchronous loop: the last bytes leave in the same tick.
  const answers = loads.map((loaded) => loaded.release());
  for (const answer of answers) void answer.then(onAnswer);
  return Promise.all(answers);
}

interface Loaded {
  readonly release: () => Promise<Observation>;
}

async function load(shot: Shot): Promise<Loaded> {
  try {
    const socket = await openSocket(shot.url, shot.timeoutMs);
    return await aim(shot, socket);
  } catch (error) {
    return { release: () => Promise.resolve(failed(shot, now(shot), reasonOf(error))) };
  }
}

/** Writes everything but what releases the request. */
async function aim(shot: Shot, socket: Socket): Promise<Loaded> {
  const { body, url, method, timeoutMs } = shot;
  const send = url.protocol === "https:" ? httpsRequest : httpRequest;
  const headers: Record<string, string | string[]> = { host: url.host };
  for (const [name, values] of Object.entries(shot.headers)) headers[name] = [...values];
  if (body !== undefined || /^(POST|PUT|PATCH)$/.test(method)) {
    headers["content-length"] = String(body?.length ?? 0);
  }
  const request = send(url, { method, headers, agent: false, createConnection: () => socket });
  const answer = collect(shot, request);
  if (body !== undefined && body.length > 1) {
    await Promise.race([written(request, body.subarray(0, -1)), answer, after(timeoutMs)]);
  }
  const release = (): Promise<Observation> => {
    const startMs = now(shot);
    const timer = setTimeout(() => {
      request.destroy(new Error(`no complete answer within ${timeoutMs} ms`));
      // A request that has not taken its socket yet would leave it open.
      socket.destroy();
    }, timeoutMs);
    request.end(body?.subarray(-1));
    return answer
      .then((end) => finished(shot, startMs, end))
      .catch((error: unknown) => failed(shot, startMs, reasonOf(error)))
      .finally(() => {
        clearTimeout(timer);
        socket.destroy();
      });
  };
  return { release };
}

interface End {
  readonly firstByteMs: number;
  readonly endMs: number;
  readonly response: IncomingMessage;
  readonly bodyBytes: number;
  readonly digest: string;
}

function collect(shot: Shot, request: ClientRequest): Promise<End> {
  const { promise, resolve, reject } = Promise.withResolvers<End>();
  request.on("error", reject);
  request.on("response", (response) => {
    const firstByteMs = now(shot);
    const hash = createHash("sha256");
    let bodyBytes = 0;
    response.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      bodyBytes += chunk.length;
    });
    response.on("error", reject);
    response.on("end", () => {
      const digest = hash.digest("hex");
      resolve({ firstByteMs, endMs: now(shot), response, bodyBytes, digest });
    });
  });
  // An upgrade has no end to wait for.
  request.on("upgrade", () => reject(new Error("the answer was an upgrade")));
  // Whoever releases the request hears of it; nobody does when an early answer fails first.
  promise.catch(() => undefined);
  return promise;
}

function finished({ phase }: Shot, startMs: number, end: End): Observation {
  const { firstByteMs, endMs, response, bodyBytes, digest } = end;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) headers[name] = String(value);
  const status = response.statusCode;
  // A server may answer before the last byte; a bar cannot begin after its end.
  const beganMs = Math.min(startMs, firstByteMs);
  const rest = { headers, bodyBytes, digest, error: undefined };
  return { phase, startMs: beganMs, firstByteMs, endMs, status, ...rest };
}

function failed(shot: Shot, startMs: number, error: string): Observation {
  const { phase } = shot;
  const nothing = { status: undefined, firstByteMs: undefined, bodyBytes: 0, digest: "" };
  return { phase, startMs, endMs: now(shot), headers: {}, error, ...nothing };
}

function written(request: ClientRequest, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    request.write(bytes, () => resolve());
  });
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}

function now({ originMs }: Shot): number {
  return performance.now() - originMs;
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}
