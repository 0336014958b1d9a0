/**
 * Clients by shape: what this store needs of ioredis (5, 6) and node-redis (5, 6), written down
 * structurally, so that neither is a dependency. Errors leave here without the command's arguments.
 */
import { LatchkeyError } from "../../errors.ts";

/** An argument of a command; results are bytes. */
export type Argument = string | Uint8Array;
/** ioredis: `new Redis()`. */
export interface IoredisClient {
  callBuffer(command: string, ...args: (string | Buffer)[]): Promise<unknown>;
}
/** node-redis: `await createClient().connect()`. */
export interface NodeRedisClient {
  sendCommand(args: (string | Buffer)[], options?: object): Promise<unknown>;
}
export type RedisClient = IoredisClient | NodeRedisClient;

/** Sends one command; bulk strings come back as Buffers. */
export type Send = (command: string, args: readonly Argument[]) => Promise<unknown>;

const blobString = 36; // RESP's "$": node-redis's name for bulk strings in a type mapping
const inBytes = { typeMapping: { [blobString]: Buffer } };

/** How to send commands through a client; throws `TypeError` for a client of another shape. */
export function senderOf(client: RedisClient): Send {
  const send = rawSender(client);
  return async (command, args) => {
    try {
      return await send(command, args.map(toWire));
    } catch (error) {
      throw redisError(error);
    }
  };
}

function rawSender(
  client: RedisClient,
): (command: string, args: (string | Buffer)[]) => Promise<unknown> {
  if (typeof (client as IoredisClient | undefined)?.callBuffer === "function") {
    const ioredis = client as IoredisClient;
    return (command, args) => ioredis.callBuffer(command, ...args);
  }
  if (isNodeRedis(client)) {
    return (command, args) => client.sendCommand([command, ...args], inBytes);
  }
  throw new TypeError(
    "redisStore needs a client of ioredis or node-redis, 5 or 6, such as new Redis(url); " +
      `got ${whatIs(client)}.`,
  );
}

// The cluster client of node-redis has a method of the same name, which wants the key first.
function isNodeRedis(client: unknown): client is NodeRedisClient {
  const { sendCommand } = (client ?? {}) as { readonly sendCommand?: unknown };
  return typeof sendCommand === "function" && sendCommand.length < 3;
}

function whatIs(client: unknown): string {
  if (typeof client !== "object" || client === null) return typeof client;
  return `an object of ${client.constructor?.name || "unknown kind"}`;
}

function toWire(argument: Argument): string | Buffer {
  if (typeof argument === "string") return argument;
  return Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength);
}

// Drivers hang the whole command, and with it the result, on their errors: only the words go on.
function redisError(error: unknown): LatchkeyError {
  const message = error instanceof Error ? error.message : String(error);
  const words = message.split(", with args beginning with", 1)[0] ?? "";
  const cause = new Error(words);
  if (words.startsWith("OOM")) {
    const full = "Redis is full and refuses new claims. Raise maxmemory or lower the retention.";
    return new LatchkeyError("store-full", full, { cause, retryAfterMs: 1000 });
  }
  return new LatchkeyError(
    "store-unavailable",
    "Redis cannot be reached or refused the command. Check the server and its address.",
    { cause, retryAfterMs: 1000 },
  );
}

/** Whether Redis has forgotten a script, after a restart or a failover (B-99). */
export function isNoScript(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && cause.message.includes("NOSCRIPT");
}
