/**
 * Clients by shape: what this store needs of pg (a pool, a client), postgres.js and PGlite, or of a
 * transaction of theirs, written down structurally, so that none is a dependency.
 */
import { postgresError } from "./errors.ts";

/** A parameter of a statement; results are bytes. */
export type Parameter = string | Uint8Array | null;
export type Row = Readonly<Record<string, unknown>>;

/** pg: `new Pool()`, a connected `new Client()`, or the client of a pool. */
export interface PgClient {
  query(text: string, values?: Parameter[]): Promise<{ readonly rows: readonly unknown[] }>;
}
/** postgres.js: `postgres()`, or the `sql` that `sql.begin` hands out. */
export interface PostgresJsClient {
  unsafe(
    text: string,
    values?: Parameter[],
    options?: { prepare?: boolean },
  ): PromiseLike<readonly unknown[]>;
}
/** PGlite: `new PGlite()`, or the transaction that `db.transaction` hands out. */
export interface PgliteClient extends PgClient {
  exec(text: string): Promise<unknown>;
}
export type PostgresClient = PgClient | PostgresJsClient | PgliteClient;

/** A database through whichever client; what it throws is a `LatchkeyError` without parameters. */
export interface Connection {
  /** Runs one statement in one round trip; its rows. */
  readonly query: (text: string, values: readonly Parameter[]) => Promise<readonly Row[]>;
  /** Runs several statements in one transaction. */
  readonly script: (text: string) => Promise<void>;
}

/** The connection of a client; throws `TypeError` for a client of another shape. */
export function connectionOf(client: PostgresClient): Connection {
  const { query, script } = rawConnection(client);
  return {
    query: (text, values) => stripped(() => query(text, values)),
    script: (text) => stripped(() => script(text)),
  };
}

async function stripped<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw postgresError(error);
  }
}

function rawConnection(client: PostgresClient): Connection {
  if (isPostgresJs(client)) return ofPostgresJs(client);
  if (!isPg(client)) {
    throw new TypeError(
      "postgresStore needs a client of pg, postgres.js or PGlite, such as new Pool({ … }); " +
        `got ${whatIs(client)}.`,
    );
  }
  const connection = ofPg(client);
  if ("exec" in client)
    return { ...connection, script: async (text) => void (await client.exec(text)) };
  return "totalCount" in client ? connection : oneByOne(connection);
}

function ofPg(client: PgClient): Connection {
  return {
    query: async (text, values) => (await client.query(text, [...values])).rows as Row[],
    script: async (text) => void (await client.query(text)),
  };
}

// Whether statements are prepared is said where the client was made: behind a pooler its owner
// says `prepare: false`, which this does not override. Without preparing it takes two round trips.
function ofPostgresJs(sql: PostgresJsClient): Connection {
  return {
    query: (text, values) => settled(sql.unsafe(text, [...values], { prepare: true })),
    script: async (text) => void (await settled(sql.unsafe(text))),
  };
}

// postgres.js tells the statement of a lost connection before it has noticed the loss itself: the
// next one, sent at once, would wait on the dead socket for ever. It notices at the end of this
// turn of the event loop, where sockets are closed; immediates come before that.
async function settled(pending: PromiseLike<readonly unknown[]>): Promise<readonly Row[]> {
  try {
    return (await pending) as readonly Row[];
  } catch (error) {
    await new Promise<void>((turn) => setImmediate(() => setImmediate(turn)));
    throw error;
  }
}

// A single client of pg runs one statement at a time, and from version 9 on no longer queues them.
function oneByOne({ query, script }: Connection): Connection {
  let last: Promise<unknown> = Promise.resolve();
  function queue<T>(call: () => Promise<T>): Promise<T> {
    const next = last.then(call, call);
    last = next.catch(() => undefined); // told to its own caller
    return next;
  }
  return {
    query: (text, values) => queue(() => query(text, values)),
    script: (text) => queue(() => script(text)),
  };
}

function isPostgresJs(client: unknown): client is PostgresJsClient {
  return typeof client === "function" && "unsafe" in client && typeof client.unsafe === "function";
}

function isPg(client: unknown): client is PgClient | PgliteClient {
  if (typeof client !== "object" || client === null) return false;
  return "query" in client && typeof client.query === "function";
}

function whatIs(client: unknown): string {
  if (typeof client !== "object" || client === null) return typeof client;
  return `an object of ${client.constructor?.name || "unknown kind"}`;
}
