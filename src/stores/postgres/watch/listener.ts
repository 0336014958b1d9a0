/**
 * Listening for notifications on a connection of its own, by the shape of the client: pg needs a
 * fresh `Client`; postgres.js opens a connection by itself; PGlite is its own.
 */
import { postgresError } from "../errors.ts";

/** pg: a `new Client()` that is not connected yet, and not through a pooler of transactions. */
export interface PgListener {
  connect(): Promise<unknown>;
  query(text: string): Promise<unknown>;
  on(event: "notification", listener: (message: PgNotification) => void): unknown;
  on(event: "error" | "end", listener: () => void): unknown;
  end(): Promise<unknown>;
}
export interface PgNotification {
  readonly channel: string;
  readonly payload?: string | undefined;
}
/** postgres.js: any `sql`; it connects again by itself. */
export interface PostgresJsListener {
  listen(
    channel: string,
    onNotify: (payload: string) => void,
    onListen: () => void,
  ): Promise<{ readonly unlisten: () => Promise<unknown> }>;
  unsafe(text: string): unknown;
}
/** PGlite: the database itself. */
export interface PgliteListener {
  listen(channel: string, onNotify: (payload: string) => void): Promise<() => Promise<unknown>>;
  exec(text: string): unknown;
}
export type ListenClient = PgListener | PostgresJsListener | PgliteListener;

export interface ListenHandlers {
  readonly onNotify: (payload: string) => void;
  /** Notifications may have been missed; the connection is there again by itself. */
  readonly onGap: () => void;
  /** The connection is lost and does not come back by itself. */
  readonly onLost: () => void;
}

/**
 * Listens on a channel, an identifier; resolves once it does, to what ends it. Rejects with
 * `LatchkeyError`.
 */
export async function listenOn(
  client: ListenClient,
  channel: string,
  handlers: ListenHandlers,
): Promise<() => Promise<unknown>> {
  try {
    if ("unsafe" in client) return await onPostgresJs(client, channel, handlers);
    if ("exec" in client) return await client.listen(channel, handlers.onNotify);
    return await onPg(client, channel, handlers);
  } catch (error) {
    throw postgresError(error);
  }
}

async function onPg(
  client: PgListener,
  channel: string,
  { onNotify, onLost }: ListenHandlers,
): Promise<() => Promise<unknown>> {
  client.on("notification", ({ channel: from, payload = "" }) => {
    if (from === channel) onNotify(payload);
  });
  client.on("error", onLost);
  client.on("end", onLost);
  await client.connect();
  try {
    await client.query(`LISTEN ${channel}`);
  } catch (error) {
    await client.end();
    throw error;
  }
  return () => client.end();
}

async function onPostgresJs(
  sql: PostgresJsListener,
  channel: string,
  { onNotify, onGap }: ListenHandlers,
): Promise<() => Promise<unknown>> {
  const { unlisten } = await sql.listen(channel, onNotify, onGap);
  return unlisten;
}
