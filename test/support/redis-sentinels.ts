/** Three Sentinels over a master and its replica, real processes all, for failovers. */
import { Redis } from "ioredis";
import { until } from "./poll.ts";
import { startRedis } from "./redis-server.ts";
import type { RedisProcess } from "./redis-server.ts";

export interface RedisSentinels {
  readonly master: RedisProcess;
  readonly replica: RedisProcess;
  /** Addresses of the Sentinels, for clients; the master's name is `main`. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  /** The port of the master that the Sentinels agree on. */
  readonly masterPort: () => Promise<number>;
  readonly stop: () => Promise<void>;
}

/** Starts all five and resolves once the Sentinels know each other and the replica. */
export async function startRedisSentinels(): Promise<RedisSentinels> {
  const args = ["--repl-diskless-sync-delay", "0"];
  const master = await startRedis({ args });
  const follow = ["--replicaof", `127.0.0.1 ${master.port}`];
  const replica = await startRedis({ args: [...args, ...follow] });
  const sentinel = [
    `sentinel monitor main 127.0.0.1 ${master.port} 2`,
    "sentinel down-after-milliseconds main 1000",
    "sentinel failover-timeout main 5000",
  ];
  const processes = await Promise.all([1, 2, 3].map(() => startRedis({ sentinel })));
  const watchers = processes.map(({ port }) => new Redis(port, "127.0.0.1"));
  const ready = async (): Promise<boolean> => {
    const infos = await Promise.all(watchers.map((redis) => redis.info("sentinel")));
    return infos.every((info) => /name=main,status=ok,.*slaves=1,sentinels=3/.test(info));
  };
  await until(ready, { withinMs: 20_000, what: "three Sentinels and a replica" });
  const portOf = async (redis: Redis): Promise<string> => {
    const address = (await redis.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")) as string[];
    return String(address[1]);
  };
  return {
    master,
    replica,
    addresses: processes.map(({ port }) => ({ host: "127.0.0.1", port })),
    masterPort: async () => {
      const ports = new Set(await Promise.all(watchers.map(portOf)));
      return ports.size === 1 ? Number([...ports][0]) : 0;
    },
    stop: async () => {
      for (const redis of watchers) redis.disconnect();
      await Promise.all([...processes, master, replica].map((one) => one.stop()));
    },
  };
}
