/** One Postgres for a file of tests, with stores in schemas of their own. */
import { Pool } from "pg";
import { afterAll, afterEach, beforeAll } from "vitest";
import { postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import type {
  PostgresClient,
  PostgresStore,
  PostgresStoreOptions,
} from "../../src/stores/postgres/postgres-store.ts";
import { startPostgres } from "./postgres-server.ts";
import type { PostgresProcess } from "./postgres-server.ts";

export interface PostgresPlace {
  readonly server: PostgresProcess;
  /** A pool of the superuser. */
  readonly admin: Pool;
  /** Runs after the test, last come first. */
  readonly closers: (() => unknown)[];
  /** A pool that ends with the test. */
  readonly poolOf: (options?: object) => Pool;
  /** A migrated store that is closed after the test; its schema is new unless one is named. */
  readonly storeOn: (
    client: PostgresClient,
    options?: PostgresStoreOptions,
  ) => Promise<PostgresStore & { readonly schema: string }>;
  /** A name that no schema has yet. */
  readonly newSchema: () => string;
}

/** Registers the hooks of one file; what it returns is there once the tests run. */
export function usePostgres(): PostgresPlace {
  let server: PostgresProcess;
  let admin: Pool;
  let schemas = 0;
  const closers: (() => unknown)[] = [];
  beforeAll(async () => {
    server = await startPostgres();
    admin = new Pool({ connectionString: server.url, max: 5 });
  });
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  });
  afterAll(async () => {
    await admin.end();
    await server.stop();
  });

  const newSchema = (): string => `place${(schemas += 1)}`;
  return {
    get server() {
      return server;
    },
    get admin() {
      return admin;
    },
    closers,
    newSchema,
    poolOf: (options = {}) => {
      const pool = new Pool({ connectionString: server.url, ...options });
      pool.on("error", () => undefined); // a cut connection is told by its query
      closers.push(() => pool.end());
      return pool;
    },
    storeOn: async (client, options = {}) => {
      const { schema = newSchema() } = options;
      const store = postgresStore(client, { allowVolatile: true, ...options, schema });
      closers.push(() => store.close());
      await store.migrate();
      return { ...store, schema };
    },
  };
}
