/**
 * node-redis 5 and 6 beyond one node: `createCluster` and `createSentinel`. Both keep the
 * connections for subscriptions themselves and close them when nothing is subscribed.
 */
import { keySlot } from "./key-slot.ts";
import { channelsOf, end, inBytes, together } from "./node-redis.ts";
import type { NodeRedisClient, ShardedSubscriber } from "./node-redis.ts";
import { eventsOf, keyOf, quiet } from "./wire.ts";
import type { Emitter, Hearing, Listener, OwnWire, Wire } from "./wire.ts";

type Words = (string | Buffer)[];

/** node-redis: `await createCluster().connect()`. */
export interface NodeRedisClusterClient {
  nodeClient(node: never): unknown;
  sendCommand(
    firstKey: string | Buffer | undefined,
    isReadonly: boolean | undefined,
    args: Words,
    options?: object,
  ): Promise<unknown>;
}
/** The rest of it. */
export interface NodeRedisCluster extends NodeRedisClusterClient, Emitter, ShardedSubscriber {
  readonly slots: readonly ({ readonly master: ClusterMaster } | undefined)[];
  readonly masters: readonly ClusterMaster[];
  readonly isOpen: boolean;
  nodeClient(node: ClusterMaster): NodeRedisClient | Promise<NodeRedisClient>;
  duplicate(): NodeRedisCluster;
  connect(): Promise<unknown>;
  destroy(): void;
}
interface ClusterMaster {
  readonly address: string;
}

/** node-redis: `await createSentinel().connect()`. */
export interface NodeRedisSentinelClient {
  getMasterNode(): unknown;
  sendCommand(isReadonly: boolean | undefined, args: Words, options?: object): Promise<unknown>;
}
/** The rest of it. */
export interface NodeRedisSentinel extends NodeRedisSentinelClient, Emitter, ShardedSubscriber {
  readonly isOpen: boolean;
  acquire(): Promise<NodeRedisLease>;
  /** Since node-redis 6. */
  duplicate?(): NodeRedisSentinel;
  connect(): Promise<unknown>;
  destroy(): Promise<void>;
}
interface NodeRedisLease {
  release(): unknown;
  sendCommand(isReadonly: boolean | undefined, args: Words, options?: object): Promise<unknown>;
}

/** How to send through `createCluster()`. */
export function nodeRedisClusterWire(cluster: NodeRedisCluster): Wire {
  const masterOf = (key: string) => cluster.slots[keySlot(key)]?.master;
  return {
    send: (command) => cluster.sendCommand(keyOf(command), false, [...command], inBytes),
    masters: async () =>
      cluster.masters.map((master) => ({
        address: master.address,
        send: async (command) =>
          (await cluster.nodeClient(master)).sendCommand([...command], inBytes),
      })),
    isCluster: true,
    laneOf: (key) => masterOf(key)?.address ?? "",
    exchange: async (key, commands) => {
      const master = masterOf(key);
      if (master === undefined) throw new Error("No master of the cluster serves this slot.");
      return together(await cluster.nodeClient(master), commands);
    },
    keyPrefix: "",
    duplicate: () => {
      const copy = quiet(cluster.duplicate());
      return {
        ...nodeRedisClusterWire(copy),
        opened: copy.connect(),
        isOver: () => !copy.isOpen,
        close: () => end(copy),
      };
    },
    onChange: eventsOf(cluster, "node-ready"),
    listen: (hearing) => listenThrough(cluster, hearing),
  };
}

/** How to send through `createSentinel()`. */
export function nodeRedisSentinelWire(sentinel: NodeRedisSentinel): Wire {
  let leasing: Promise<NodeRedisLease> | undefined;
  // Each lease costs this client 12 ms of the processor: one is kept.
  const lease = (): Promise<NodeRedisLease> =>
    (leasing ??= sentinel.acquire().catch((error: unknown) => {
      leasing = undefined;
      throw error;
    }));
  const send: Wire["send"] = (command) => sentinel.sendCommand(false, [...command], inBytes);
  return {
    send,
    masters: async () => [{ address: "", send }],
    isCluster: false,
    laneOf: () => "",
    exchange: async (_key, commands) => {
      const leased = await lease();
      const master: NodeRedisClient = {
        sendCommand: (args, options) => leased.sendCommand(false, args, options),
      };
      return together(master, commands);
    },
    release: () => {
      leasing?.then(
        (leased) => leased.release(),
        () => undefined, // there is none to give back
      );
      leasing = undefined;
    },
    keyPrefix: "",
    ...(sentinel.duplicate && { duplicate: () => ownSentinelWire(sentinel) }),
    onChange: eventsOf(sentinel, "topology-change"),
    listen: (hearing) => listenThrough(sentinel, hearing),
  };
}

function ownSentinelWire(sentinel: NodeRedisSentinel): OwnWire {
  const copy = sentinel.duplicate?.();
  if (copy === undefined) throw new TypeError("This Sentinel client cannot be duplicated.");
  // What is still open at a loss of the network has nothing left to say.
  const close = (): void => void copy.destroy().catch(() => undefined);
  const opened = copy.connect();
  return { ...nodeRedisSentinelWire(quiet(copy)), opened, isOver: () => !copy.isOpen, close };
}

// The client itself subscribes again after a loss; whoever waits polls until then.
function listenThrough(client: ShardedSubscriber, hearing: Hearing): Listener {
  return { ...channelsOf(hearing, async () => client), close: () => undefined };
}
