/**
 * Watching records for whoever waits: while somebody does, the record says so, and whatever settles
 * it notifies. Without a watcher no commit notifies, because that makes commits queue up.
 */
import type { RecordId } from "../../../machine/record.ts";
import type { Store } from "../../store.ts";
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
  const watchers = new Map<RecordId, Set<() => void>>();
  const ended = new AbortController();
  let listening: Promise<() => Promise<unknown>> | undefined;

  function nudge(id: RecordId): void {
    for (const onNudge of watchers.get(id) ?? []) onNudge();
  }
  function nudgeAll(): void {
    for (const id of watchers.keys()) nudge(id);
  }

  function listen(): Promise<unknown> {
    listening ??= connect();
    return listening;
  }

  function connect(): Promise<() => Promise<unknown>> {
    const attempt = listenOn(open(), channel, {
      onNotify: (payload) => nudge(payload as RecordId),
      onGap: nudgeAll,
      onLost: () => lose(attempt),
    });
    attempt.catch(() => lose(attempt)); // told to whoever awaits it
    return attempt;
  }

  // What was notified meanwhile is lost: everybody looks for themselves, now and when it is back.
  function lose(attempt: Promise<unknown>): void {
    if (listening !== attempt) return;
    listening = undefined;
    if (ended.signal.aborted || watchers.size === 0) return;
    nudgeAll();
    const again = (): void => {
      if (!ended.signal.aborted && watchers.size > 0) void listen().then(nudgeAll, () => undefined);
    };
    setTimeout(again, reconnectMs).unref();
  }

  // A record that could not be asked is found by the waiters' own slow polling.
  const reminder = setInterval(() => {
    for (const id of watchers.keys()) ask(id, rememberedMs).catch(() => undefined);
  }, rememberedMs / 3);
  reminder.unref();

  return {
    watch: async (id, onNudge) => {
      await listen();
      const one = (): void => onNudge();
      const all = watchers.get(id) ?? new Set();
      watchers.set(id, all.add(one));
      const leave = (): void => {
        if (all.delete(one) && all.size === 0) watchers.delete(id);
      };
      try {
        await ask(id, rememberedMs);
      } catch (error) {
        leave();
        throw error;
      }
      return leave;
    },
    close: async () => {
      ended.abort();
      clearInterval(reminder);
      watchers.clear();
      const stop = await listening?.catch(() => undefined);
      await stop?.();
    },
  };
}
