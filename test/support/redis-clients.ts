/** Every client the Redis store takes, opened on a server, behind Sentinels, or on a cluster. */
import { GlideClient, GlideClusterClient, Logger } from "@valkey/valkey-glide";
import { Cluster, Redis } from "ioredis";
import { Cluster as Cluster5, Redis as Redis5 } from "ioredis5";
import { Cluster as ClusterOfValkey, Redis as RedisOfValkey } from "iovalkey";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import {
  createClient as createClient5,
  createClientPool as createClientPool5,
  createCluster as createCluster5,
  createSentinel as createSentinel5,
} from "redis5";
import type { RedisClient } from "../../src/stores/redis/redis-store.ts";

export interface OpenClient {
  readonly client: RedisClient;
  readonly close: () => unknown;
}
export interface Address {
  readonly host: string;
  readonly port: number;
}
type Open<Where> = (where: Where) => Promise<OpenClient>;
type Opens<Where> = readonly (readonly [name: string, open: Open<Where>])[];

Logger.setLoggerConfig("off"); // GLIDE writes a line about every script it has to send again

function quiet<T extends { on(event: "error", listener: () => void): unknown }>(client: T): T {
  client.on("error", () => undefined); // each command tells of its own failure
  return client;
}

/** Clients of one server. */
export const singleClients: Opens<Address> = [
  ["ioredis 6", async ({ host, port }) => fromIoredis(quiet(new Redis(port, host)))],
  ["ioredis 5", async ({ host, port }) => fromIoredis(quiet(new Redis5(port, host)))],
  ["iovalkey", async ({ host, port }) => fromIoredis(quiet(new RedisOfValkey(port, host)))],
  ["node-redis 6", async (socket) => fromNodeRedis(quiet(createClient({ socket })))],
  ["node-redis 5", async (socket) => fromNodeRedis(quiet(createClient5({ socket })))],
  ["a pool of node-redis 6", async (socket) => fromNodeRedis(quiet(createClientPool({ socket })))],
  ["a pool of node-redis 5", async (socket) => fromNodeRedis(quiet(createClientPool5({ socket })))],
  ["GLIDE", async (address) => fromGlide(await GlideClient.createClient({ addresses: [address] }))],
];

/** Clients of a cluster, given some of its nodes. */
export const clusterClients: Opens<readonly Address[]> = [
  ["Cluster of ioredis 6", async (roots) => fromIoredis(quiet(new Cluster([...roots])))],
  [
    "Cluster of ioredis 6 that pipelines by itself",
    async (roots) => fromIoredis(quiet(new Cluster([...roots], { enableAutoPipelining: true }))),
  ],
  ["Cluster of ioredis 5", async (roots) => fromIoredis(quiet(new Cluster5([...roots])))],
  ["Cluster of iovalkey", async (roots) => fromIoredis(quiet(new ClusterOfValkey([...roots])))],
  [
    "createCluster of node-redis 6",
    async (roots) => fromNodeRedis(quiet(createCluster({ rootNodes: rootNodes(roots) }))),
  ],
  [
    "createCluster of node-redis 5",
    async (roots) => fromNodeRedis(quiet(createCluster5({ rootNodes: rootNodes(roots) }))),
  ],
  [
    "GlideClusterClient",
    async (roots) => {
      const addresses = [...roots];
      return fromGlide(await GlideClusterClient.createClient({ addresses, requestTimeout: 2000 }));
    },
  ],
];

/** Clients that ask Sentinels who the master named `main` is. */
export const sentinelClients: Opens<readonly Address[]> = [
  [
    "ioredis 6 with sentinels",
    async (sentinels) => fromIoredis(quiet(new Redis({ sentinels: [...sentinels], name: "main" }))),
  ],
  [
    "ioredis 5 with sentinels",
    async (sentinels) =>
      fromIoredis(quiet(new Redis5({ sentinels: [...sentinels], name: "main" }))),
  ],
  [
    "iovalkey with sentinels",
    async (sentinels) =>
      fromIoredis(quiet(new RedisOfValkey({ sentinels: [...sentinels], name: "main" }))),
  ],
  [
    "createSentinel of node-redis 6",
    async (sentinels) => {
      const options = { name: "main", sentinelRootNodes: [...sentinels], scanInterval: 500 };
      return fromNodeRedis(quiet(createSentinel(options)));
    },
  ],
  [
    "createSentinel of node-redis 5",
    async (sentinels) => {
      const options = { name: "main", sentinelRootNodes: [...sentinels], scanInterval: 500 };
      return fromNodeRedis(quiet(createSentinel5(options)));
    },
  ],
];

function rootNodes(roots: readonly Address[]): { readonly socket: Address }[] {
  return roots.map((socket) => ({ socket }));
}

function fromIoredis(client: RedisClient & { disconnect(): void }): OpenClient {
  return { client, close: () => client.disconnect() };
}

async function fromNodeRedis(
  client: RedisClient & { connect(): Promise<unknown>; destroy(): unknown },
): Promise<OpenClient> {
  await client.connect();
  return { client, close: () => client.destroy() };
}

function fromGlide(client: RedisClient & { close(): void }): OpenClient {
  return { client, close: () => client.close() };
}
