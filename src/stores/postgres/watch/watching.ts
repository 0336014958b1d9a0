/**
 * Watching records for whoever waits: while somebody does, the record says so, and whatever settles
 * it notifies. Without a watcher no commit notifies, because that makes commits queue up.
 */
import { LatchkeyError } from "../../../errors.ts";
import type { RecordId } from "../../../machine/record.ts";
import type { Store } from "../../store.ts";
import { createWatchers } from "../../watchers.ts";
import { listenOn } from "./listener.ts";
import type { ListenClient } from "./listener.ts";

/** How long a record remembers that it is watched; asked again three times in that time. */
const rememberedMs = 30_000;
const reconnectMs = 1000;

export interface WatchingOptions {
  /** A client to listen with; asked for again when its connection is lost. */
  readonly open: () => ListenClient;
  readonly channel: string;
  /** Asks whoever settles the record within `forMs` to notify. */
  readonly ask: (id: RecordId, forMs: number) => Promise<void>;
}

export interface Watching {
  readonly watch: NonNullable<Store["watch"]>;
  readonly close: () => Promise<void>;
}

/** Watches over one listening connection, opened with the first watcher. */
export function createWatching({ open, channel, ask }: WatchingOptions): Watching {
  const watchers = createWatchers();
  const line = createLine({
    open: (onLost) =>
      listenOn(open(), channel, {
        onNotify: (payload) => watchers.nudge(payload as RecordId),
        onGap: watchers.nudgeAll,
        onLost,
      }),
    isWanted: () => watchers.ids().length > 0,
    onGap: watchers.nudgeAll,
  });

  // A record that could not be asked is found by the waiters' own slow polling.
  const reminder = setInterval(() => {
    for (const id of watchers.ids()) ask(id, rememberedMs).catch(() => undefined);
  }, rememberedMs / 3);
  reminder.unref();

  return {
    watch: async (id, onNudge) => {
      await line.up();
      const leave = watchers.add(id, onNudge);
      try {
        await ask(id, rememberedMs);
      } catch (error) {
        leave();
        throw error;
      }
      return leave;
    },
    close: async () => {
      clearInterval(reminder);
      await line.end();
    },
  };
}

type End = () => Promise<unknown>;
interface LineOptions {
  /** Connects; resolves to what ends the connection. */
  readonly open: (onLost: () => void) => Promise<End>;
  /** Whether a lost connection is worth making anew. */
  readonly isWanted: () => boolean;
  /** Something may have been missed: when the connection is lost, and when it is back. */
  readonly onGap: () => void;
}

/** One connection, made when it is first wanted and anew when it is lost. */
function createLine({ open, isWanted, onGap }: LineOptions) {
  const ended = new AbortController();
  let connection: Promise<End> | undefined;

  function up(): Promise<End> {
    if (ended.signal.aborted) return Promise.reject(closed());
    connection ??= connect();
    return connection;
  }

  function connect(): Promise<End> {
    const attempt = open(() => lose(attempt));
    attempt.catch(() => lose(attempt)); // told to whoever awaits it
    return attempt;
  }

  function lose(attempt: Promise<End>): void {
    if (connection !== attempt) return;
    connection = undefined;
    if (ended.signal.aborted || !isWanted()) return;
    onGap();
    setTimeout(() => {
      if (!ended.signal.aborted && isWanted()) void up().then(onGap, () => undefined);
    }, reconnectMs).unref();
  }

  return {
    up,
    end: async (): Promise<void> => {
      ended.abort();
      const end = await connection?.catch(() => undefined);
      await end?.();
    },
  };
}

function closed(): LatchkeyError {
  const message = "The Postgres store is closed and watches no more. Open another one.";
  return new LatchkeyError("store-unavailable", message);
}
