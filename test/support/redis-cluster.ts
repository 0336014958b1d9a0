/**
 * A Redis Cluster of real processes for tests: three masters with one replica each on loopback,
 * whose slots can be moved and whose masters can be killed.
 */
import { Redis } from "ioredis";
import { until } from "./poll.ts";
import { startRedis } from "./redis-server.ts";
import { freePort } from "./server-process.ts";
import type { RedisProcess } from "./redis-server.ts";

const slots = 16_384;

export interface ClusterMember extends RedisProcess {
  /** A plain connection to this node alone. */
  readonly admin: Redis;
  readonly nodeId: string;
}
export interface RedisCluster {
  readonly members: readonly ClusterMember[];
  /** Addresses for a client to start from. */
  readonly roots: readonly { readonly host: string; readonly port: number }[];
  /** The member that is master of a key's slot now. */
  readonly masterOf: (key: string) => Promise<ClusterMember>;
  /**
   * Moves one slot with its keys to another master, key by key, as `redis-cli` does; `during` runs
   * while both have a part in it.
   */
  readonly moveSlot: (
    slot: number,
    to: ClusterMember,
    during?: () => Promise<unknown>,
  ) => Promise<void>;
  readonly slotOf: (key: string) => Promise<number>;
  readonly masters: () => Promise<readonly ClusterMember[]>;
  readonly stop: () => Promise<void>;
}

/** Starts six nodes, joins them, and resolves once all of them call the cluster sound. */
export async function startRedisCluster(args: readonly string[] = []): Promise<RedisCluster> {
  const members = await Promise.all(Array.from({ length: 6 }, () => startMember(args)));
  const [first, ...others] = members as [Started, ...Started[]];
  await Promise.all(
    others.map(({ port, busPort }) =>
      first.admin.call("CLUSTER", "MEET", "127.0.0.1", port, busPort),
    ),
  );
  await everywhere(members, "cluster_known_nodes:6");
  const share = Math.ceil(slots / 3);
  await Promise.all(
    members.slice(0, 3).map(({ admin }, index) => {
      const last = Math.min(slots, (index + 1) * share) - 1;
      return admin.call("CLUSTER", "ADDSLOTSRANGE", index * share, last);
    }),
  );
  await Promise.all(
    members.slice(3).map(async ({ admin }, index) => {
      const master = members[index]?.nodeId ?? "";
      await until(() => admin.call("CLUSTER", "REPLICATE", master), { withinMs: 10_000 });
    }),
  );
  await everywhere(members, "cluster_state:ok");
  const replicas = members.slice(3);
  await Promise.all(replicas.map(({ admin }) => until(() => linked(admin), { withinMs: 15_000 })));
  return clusterOf(members);
}

interface Started extends ClusterMember {
  readonly busPort: number;
}

async function startMember(args: readonly string[]): Promise<Started> {
  const busPort = await freePort();
  const cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
  const more = ["--cluster-port", String(busPort), "--repl-diskless-sync-delay", "0"];
  const server = await startRedis({ args: [...cluster, ...more, ...args] });
  const admin = new Redis(server.port, "127.0.0.1");
  admin.on("error", () => undefined); // killed on purpose
  const nodeId = String(await admin.call("CLUSTER", "MYID"));
  return Object.assign(server, { admin, nodeId, busPort });
}

async function everywhere(members: readonly Started[], line: string): Promise<void> {
  const says = async ({ admin }: Started): Promise<boolean> =>
    String(await admin.call("CLUSTER", "INFO")).includes(line);
  const options = { withinMs: 15_000, what: line };
  await Promise.all(members.map((member) => until(() => says(member), options)));
}

async function linked(admin: Redis): Promise<boolean> {
  return (await admin.info("replication")).includes("master_link_status:up");
}

function clusterOf(members: readonly ClusterMember[]): RedisCluster {
  const alive = (): readonly ClusterMember[] =>
    members.filter(({ admin }) => admin.status === "ready");
  const someone = (): Redis => (alive()[0] as ClusterMember).admin;
  const slotOf = async (key: string) => Number(await someone().call("CLUSTER", "KEYSLOT", key));

  // Gossip is late: the owner is whom every node knows, in the same epoch. A move before that would
  // begin in an old epoch, and two nodes could believe that they own the slot.
  async function ownerOf(slot: number): Promise<ClusterMember> {
    const known = async ({ admin }: ClusterMember): Promise<string> => {
      const ranges = (await admin.call("CLUSTER", "SLOTS")) as [number, number, [0, 0, string]][];
      const owner = ranges.find(([from, to]) => from <= slot && slot <= to)?.[2][2];
      const info = String(await admin.call("CLUSTER", "INFO"));
      return `${owner} ${/cluster_current_epoch:\d+/.exec(info)?.[0]}`;
    };
    return until(
      async () => {
        const owners = new Set(await Promise.all(alive().map(known)));
        const owner = [...owners][0]?.split(" ")[0];
        return owners.size === 1 ? members.find(({ nodeId }) => nodeId === owner) : undefined;
      },
      { withinMs: 20_000, what: "every node to know the slot's owner" },
    );
  }

  async function moveSlot(
    slot: number,
    to: ClusterMember,
    during?: () => Promise<unknown>,
  ): Promise<void> {
    const from = await ownerOf(slot);
    if (from === to) return;
    await to.admin.call("CLUSTER", "SETSLOT", slot, "IMPORTING", from.nodeId);
    await from.admin.call("CLUSTER", "SETSLOT", slot, "MIGRATING", to.nodeId);
    await during?.();
    for (;;) {
      const keys = (await from.admin.call("CLUSTER", "GETKEYSINSLOT", slot, 200)) as string[];
      if (keys.length === 0) break;
      await from.admin.migrate("127.0.0.1", to.port, "", 0, 5000, "KEYS", ...keys);
    }
    for (const { admin } of [to, from, ...alive()]) {
      await admin.call("CLUSTER", "SETSLOT", slot, "NODE", to.nodeId).catch(ignoreReplica);
    }
    await ownerOf(slot);
  }

  return {
    members,
    roots: members.map(({ port }) => ({ host: "127.0.0.1", port })),
    masterOf: async (key) => ownerOf(await slotOf(key)),
    moveSlot,
    slotOf,
    masters: async () => {
      const roles = await Promise.all(
        alive().map(async (member) => [member, (await member.admin.role())[0]] as const),
      );
      return roles.filter(([, role]) => role === "master").map(([member]) => member);
    },
    stop: async () => {
      for (const { admin } of members) admin.disconnect();
      await Promise.all(members.map((member) => member.stop()));
    },
  };
}

// Only masters may be told; replicas learn by gossip.
function ignoreReplica(error: Error): void {
  if (!/replica|only with master/i.test(error.message)) throw error;
}
