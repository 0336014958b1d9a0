/**
 * Clients by shape: which of the known clients this is, written down structurally, so that none is
 * a dependency. Errors leave here without the command's arguments.
 */
import { LatchkeyError } from "../../errors.ts";
import { glideClusterWire, glideWire } from "./clients/glide.ts";
import type { GlideClient, GlideClusterClient } from "./clients/glide.ts";
import { ioredisClusterWire } from "./clients/ioredis-cluster.ts";
import type { IoredisCluster } from "./clients/ioredis-cluster.ts";
import { ioredisWire } from "./clients/ioredis.ts";
import type { IoredisClient } from "./clients/ioredis.ts";
import { nodeRedisClusterWire, nodeRedisSentinelWire } from "./clients/node-redis-cluster.ts";
import type {
  NodeRedisCluster,
  NodeRedisClusterClient,
  NodeRedisSentinel,
  NodeRedisSentinelClient,
} from "./clients/node-redis-cluster.ts";
import { nodeRedisWire } from "./clients/node-redis.ts";
import type { NodeRedisClient } from "./clients/node-redis.ts";
import type { Argument, Wire } from "./clients/wire.ts";

export type { Argument, Wire } from "./clients/wire.ts";

/**
 * A client this store can use: ioredis 5 and 6, iovalkey, node-redis 5 and 6 (single, pool,
 * cluster, Sentinel) or Valkey GLIDE 2.
 */
export type RedisClient =
  | IoredisClient
  | NodeRedisClient
  | NodeRedisClusterClient
  | NodeRedisSentinelClient
  | GlideClient;

/** Sends one command to the master of its key; bulk strings come back as Buffers. */
export type Send = (command: string, args: readonly Argument[]) => Promise<unknown>;

/** How this client sends; throws `TypeError` for a client of another shape. */
export function wireOf(client: RedisClient): Wire {
  const methods = (client ?? {}) as unknown as Readonly<Record<string, unknown>>;
  const has = (name: string): boolean => typeof methods[name] === "function";
  if (has("callBuffer")) {
    const clustered = methods["isCluster"] === true;
    if (clustered) return ioredisClusterWire(client as IoredisCluster);
    return ioredisWire(client as IoredisClient);
  }
  if (has("customCommand")) {
    const clustered = has("invokeScriptWithRoute");
    if (clustered) return glideClusterWire(client as GlideClusterClient);
    return glideWire(client as GlideClient);
  }
  if (has("sendCommand")) {
    if (has("nodeClient")) return nodeRedisClusterWire(client as NodeRedisCluster);
    if (has("getMasterNode")) return nodeRedisSentinelWire(client as NodeRedisSentinel);
    // The one that takes the arguments first, and nothing before them.
    const parameters = (methods["sendCommand"] as { readonly length: number }).length;
    if (parameters < 3) return nodeRedisWire(client as NodeRedisClient);
  }
  throw new TypeError(
    "redisStore needs a client of ioredis, iovalkey, node-redis or Valkey GLIDE, such as " +
      `new Redis(url); got ${whatIs(client)}.`,
  );
}

/** What the store sends through: a wire with the contract's errors. */
export interface Link {
  readonly send: Send;
  /** Every master on its own, for commands that have no key. */
  readonly masters: () => Promise<readonly LinkedMaster[]>;
  /** What the client itself puts before every key. */
  readonly keyPrefix: string;
}
export interface LinkedMaster {
  /** `host:port` in a cluster; empty where there is but one. */
  readonly address: string;
  readonly send: Send;
}

/** The link over a wire. */
export function linkOf(wire: Wire): Link {
  return {
    send: senderOf(wire),
    masters: async () => {
      const masters = await wire.masters().catch((error: unknown) => {
        throw redisError(error);
      });
      if (masters.length === 0) throw redisError("No master of the cluster is known.");
      return masters.map((master) => ({ address: master.address, send: senderOf(master) }));
    },
    keyPrefix: wire.keyPrefix,
  };
}

function senderOf({ send }: Pick<Wire, "send">): Send {
  return async (command, args) => {
    try {
      return await send([command, ...args.map(toWire)]);
    } catch (error) {
      throw redisError(error);
    }
  };
}

function whatIs(client: unknown): string {
  if (typeof client !== "object" || client === null) return typeof client;
  return `an object of ${client.constructor?.name || "unknown kind"}`;
}

/** An argument as drivers take it. */
export function toWire(argument: Argument): string | Buffer {
  if (typeof argument === "string") return argument;
  return Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength);
}

/**
 * A driver's error in the contract's words. Drivers hang the whole command, and with it the result,
 * on their errors: only the words go on.
 */
export function redisError(error: unknown): LatchkeyError {
  const message = error instanceof Error ? error.message : String(error);
  const words = message.split(", with args beginning with", 1)[0] ?? "";
  const cause = new Error(words);
  if (/(^|: )OOM\b/.test(words)) {
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
  return /NOSCRIPT|NoScriptError/.test(wordsOf(error));
}

/** Whether the server, or its ACL, does not let us use a command at all. */
export function isForbidden(error: unknown): boolean {
  return /NOPERM|PermissionDenied|unknown command/i.test(wordsOf(error));
}

/** Whether a cluster's node says that another one serves the key now. */
export function isRedirection(error: unknown): boolean {
  return /\b(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(wordsOf(error));
}

/** What the server said, behind our own words. */
function wordsOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error) return cause.message;
  return error instanceof Error ? error.message : "";
}
