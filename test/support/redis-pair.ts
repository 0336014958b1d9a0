/** A master and its replica with a link that a test may cut, for what failovers do. */
import { Redis } from "ioredis";
import { until } from "./poll.ts";
import { startRedis } from "./redis-server.ts";
import type { RedisOptions, RedisProcess } from "./redis-server.ts";
import { startProxy } from "./tcp-proxy.ts";

export interface RedisPair {
  readonly master: RedisProcess;
  readonly replica: RedisProcess;
  /** Plain connections for looking behind. */
  readonly onMaster: Redis;
  readonly onReplica: Redis;
  /** Nothing the master writes reaches the replica any more. */
  readonly cut: () => void;
  /** Joins them again as they were, and resolves once the replica has caught up. */
  readonly join: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Starts both and resolves once the replica follows. */
export async function startRedisPair(args: RedisOptions["args"] = []): Promise<RedisPair> {
  const quickly = ["--repl-diskless-sync-delay", "0", "--repl-timeout", "60", ...args];
  const [master, replica] = (await Promise.all(
    [1, 2].map(() => startRedis({ args: quickly })),
  )) as [RedisProcess, RedisProcess];
  const link = await startProxy(master.port);
  const [onMaster, onReplica] = [master, replica].map(({ port }) => {
    const redis = new Redis(port, "127.0.0.1");
    redis.on("error", () => undefined); // killed on purpose
    return redis;
  }) as [Redis, Redis];

  async function join(): Promise<void> {
    link.heal();
    await onReplica.replicaof("127.0.0.1", link.port);
    const caughtUp = async (): Promise<boolean> =>
      Number(await onMaster.call("WAIT", 1, 50)) === 1 &&
      (await onReplica.info("replication")).includes("master_link_status:up");
    await onMaster.set("joined", "1");
    await until(caughtUp, { withinMs: 15_000, what: "the replica to follow" });
  }

  await join();
  return {
    master,
    replica,
    onMaster,
    onReplica,
    cut: () => link.blackhole(),
    join,
    stop: async () => {
      for (const redis of [onMaster, onReplica]) redis.disconnect();
      await Promise.all([link.close(), master.stop(), replica.stop()]);
    },
  };
}
