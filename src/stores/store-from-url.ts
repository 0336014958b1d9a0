/** Stores by URL, for tools and demos. Services hand their own client to a store instead. */
import { memoryStore } from "./memory.ts";
import type { Store } from "./store.ts";
import { sqliteStore } from "./sqlite/sqlite-store.ts";

/**
 * Opens `memory:`, or `sqlite:./path/to.db`. Throws `TypeError` on anything else, and what the
 * store itself throws when it cannot be opened.
 */
export async function storeFromUrl(url: string): Promise<Store> {
  if (url === "memory:") return memoryStore();
  if (url.startsWith("sqlite:") && url.length > "sqlite:".length) {
    return sqliteStore(url.slice("sqlite:".length));
  }
  throw new TypeError("A store URL is memory: or sqlite:./path/to.db; this one is neither.");
}
