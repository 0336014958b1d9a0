/** The stores that a server of the battery can be told to use, by the variables STORE and PLACE. */
import type { Store } from "latchkey";
import { memoryStore } from "latchkey/memory";
import { postgresStore } from "latchkey/postgres";
import type { PostgresStore } from "latchkey/postgres";
import { redisStore } from "latchkey/redis";

/**
 * Opens `memory`, `sqlite` (PLACE is a path), or one over the client `ioredis`, `node-redis`, `pg`
 * or `postgres` (PLACE is a URL).
 */
export async function openStore(env: Readonly<Record<string, string | undefined>>): Promise<Store> {
  const { STORE: kind = "memory", PLACE: place = "" } = env;
  switch (kind) {
    case "memory":
      return memoryStore();
    case "sqlite": {
      const { sqliteStore } = await import("latchkey/sqlite");
      return sqliteStore(place);
    }
    case "ioredis": {
      const { Redis } = await import("ioredis");
      return checked(redisStore(new Redis(place)));
    }
    case "node-redis": {
      const { createClient } = await import("redis");
      return checked(redisStore(await createClient({ url: place }).connect()));
    }
    case "pg": {
      const { Pool } = await import("pg");
      return migrated(postgresStore(new Pool({ connectionString: place }), volatile));
    }
    case "postgres": {
      const { default: postgres } = await import("postgres");
      return migrated(postgresStore(postgres(place), volatile));
    }
    default:
      throw new TypeError(`STORE is ${kind}, which is none of the stores.`);
  }
}

// The tests' server runs without fsync, which check() refuses otherwise.
const volatile = { allowVolatile: true };

async function migrated(store: PostgresStore): Promise<Store> {
  await store.migrate();
  return checked(store);
}

async function checked(store: Store): Promise<Store> {
  await store.check();
  return store;
}
