/** Stores by URL, for tools and demos. Services hand their own client to a store instead. */
import { LatchkeyError } from "../errors.ts";
import { memoryStore } from "./memory.ts";
import { postgresStore } from "./postgres/postgres-store.ts";
import { redisStore } from "./redis/redis-store.ts";
import type { Store } from "./store.ts";
import { sqliteStore } from "./sqlite/sqlite-store.ts";

export interface StoreFromUrlOptions {
  /**
   * Whether a Postgres gets its schema created, or brought to this version. Default true; a tool
   * that only looks says false, so that a mistyped name stays a mistake.
   */
  readonly migrate?: boolean;
}

/**
 * Opens `memory:`, `sqlite:./path/to.db`, `redis://host:port` or `rediss://…` (with the `ioredis`
 * package), `postgres://host/database` or `postgresql://…` (with the `pg` package, in its schema
 * `latchkey`). Throws `TypeError` on anything else, and what the store itself throws when it cannot
 * be opened. Closing the store ends what was opened here.
 */
export async function storeFromUrl(
  url: string,
  { migrate = true }: StoreFromUrlOptions = {},
): Promise<Store> {
  if (url === "memory:") return memoryStore();
  if (url.startsWith("sqlite:") && url.length > "sqlite:".length) {
    return sqliteStore(url.slice("sqlite:".length));
  }
  if (/^rediss?:\/\/./.test(url) && URL.canParse(url)) return redisFromUrl(url);
  if (/^postgres(ql)?:\/\/./.test(url) && URL.canParse(url)) return postgresFromUrl(url, migrate);
  throw new TypeError(
    "A store URL is memory:, sqlite:./path/to.db, redis://host:port, rediss://host:port or " +
      "postgres://host/database.",
  );
}

async function redisFromUrl(url: string): Promise<Store> {
  const { Redis } = await import("ioredis").catch((cause: unknown) => {
    const message = "Redis URLs need the ioredis package. Run npm install ioredis.";
    throw new LatchkeyError("store-unsuitable", message, { cause });
  });
  // Commands fail at once while Redis is away, instead of waiting in a queue and running later.
  const client = new Redis(url, { enableOfflineQueue: false, maxRetriesPerRequest: 0 });
  client.on("error", () => undefined); // every command reports its own failure
  await connected(client);
  const store = redisStore(client);
  const close = async (): Promise<void> => {
    await store.close();
    client.disconnect();
  };
  return { ...store, close };
}

async function postgresFromUrl(url: string, migrate: boolean): Promise<Store> {
  const { Client, Pool } = await import("pg").catch((cause: unknown) => {
    const message = "Postgres URLs need the pg package. Run npm install pg.";
    throw new LatchkeyError("store-unsuitable", message, { cause });
  });
  const pool = new Pool({ connectionString: url, connectionTimeoutMillis: 5000 });
  pool.on("error", () => undefined); // every command reports its own failure
  const store = postgresStore(pool, { listen: () => new Client({ connectionString: url }) });
  const close = async (): Promise<void> => {
    await store.close();
    await pool.end();
  };
  try {
    if (migrate) await store.migrate();
  } catch (error) {
    await close();
    throw error;
  }
  return { ...store, close };
}

// Resolves with the first connection or its failure; check() then says which.
async function connected(client: {
  readonly status: string;
  once(event: "ready" | "error", listener: () => void): unknown;
}): Promise<void> {
  if (client.status === "ready") return;
  await new Promise<void>((resolve) => {
    client.once("ready", resolve);
    client.once("error", resolve);
  });
}
