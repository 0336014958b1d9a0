/** `Cluster` of ioredis 5 and 6 and of iovalkey: routed by the client, with lanes by its slots. */
import { listenOn, pipelined, sendThrough } from "./ioredis.ts";
import type { IoredisClient, IoredisOptions, IoredisSingle, Pipelining } from "./ioredis.ts";
import { keySlot } from "./key-slot.ts";
import { eventsOf, quiet } from "./wire.ts";
import type { Emitter, Hearing, Listener, OwnWire, Wire } from "./wire.ts";

export interface IoredisCluster extends IoredisClient, Pipelining, Emitter {
  readonly isCluster: boolean;
  readonly status: string;
  /** Addresses by slot, the master's first. */
  readonly slots: readonly (readonly string[] | undefined)[];
  readonly options?: IoredisOptions;
  refreshSlotsCache?(done: () => void): void;
  nodes(role: "master"): readonly (IoredisSingle & ClusterNode)[];
  duplicate(startupNodes: [], override: object): IoredisCluster;
  disconnect(): void;
}
interface ClusterNode {
  readonly options: {
    readonly host?: string;
    readonly port?: number;
    readonly keyPrefix?: string | Buffer;
  };
}

/** How to send through `new Cluster()`. */
export function ioredisClusterWire(cluster: IoredisCluster): Wire {
  const keyPrefix = String(cluster.options?.keyPrefix ?? "");
  return {
    send: sendThrough(cluster),
    masters: async () => {
      await ready(cluster);
      const nodes = cluster.nodes("master");
      return nodes.map((node) => ({ address: addressOf(node), send: sendThrough(node) }));
    },
    isCluster: true,
    laneOf: (key) => (cluster.slots[keySlot(keyPrefix + key)] ?? []).join(";"),
    // A pipeline goes to the node of its keys as a whole, the commands without a key as well.
    exchange: async (_key, commands) => pipelined(cluster, commands),
    keyPrefix,
    duplicate: () => ownWire(cluster),
    onChange: eventsOf(cluster, "+node"),
    listen: (hearing) => listenOnNodes(cluster, hearing),
  };
}

// Until then it knows neither slots nor nodes; any command waits for it.
async function ready(cluster: IoredisCluster): Promise<void> {
  if (cluster.status !== "ready") await sendThrough(cluster)(["TIME"]);
}

function ownWire(cluster: IoredisCluster): OwnWire {
  const copy = quiet(cluster.duplicate([], { lazyConnect: false, enableAutoPipelining: false }));
  return {
    ...ioredisClusterWire(copy),
    opened: ready(copy),
    isOver: () => copy.status === "end",
    close: () => copy.disconnect(),
  };
}

/** A connection for each master that is listened to; shards tell only those on their own nodes. */
function listenOnNodes(cluster: IoredisCluster, hearing: Hearing): Listener {
  const byNode = new Map<string, Listener>();

  function listenerFor(channel: string): Listener {
    const address = cluster.slots[keySlot(channel)]?.[0] ?? "";
    const known = byNode.get(address);
    if (known !== undefined) return known;
    const node = cluster.nodes("master").find((one) => addressOf(one) === address);
    if (node === undefined) throw new Error("The cluster's master for this slot is not known yet.");
    const made = listenOn(node, hearing);
    byNode.set(address, made);
    return made;
  }

  // No message tells this client that a slot has moved: it asks the cluster again, once.
  async function add(channel: string): Promise<unknown> {
    try {
      return await listenerFor(channel).add(channel);
    } catch {
      await new Promise<void>((resolve) => {
        if (cluster.refreshSlotsCache === undefined) resolve();
        else cluster.refreshSlotsCache(resolve);
      });
      return listenerFor(channel).add(channel);
    }
  }

  return {
    add,
    // A moved slot leaves its subscription behind, so all are asked.
    remove: async (channel) => Promise.all([...byNode.values()].map((one) => one.remove(channel))),
    close: () => {
      for (const one of byNode.values()) one.close();
      byNode.clear();
    },
  };
}

function addressOf({ options }: ClusterNode): string {
  return `${options.host}:${options.port}`;
}
