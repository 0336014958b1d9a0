/**
 * Waking waiters: every script that ends an owner's work publishes on the record's own channel (a
 * shard's, named like its key). One subscribing connection a store, made when somebody first waits.
 */
import type { RecordId } from "../../machine/record.ts";
import type { Store } from "../store.ts";
import { createWatchers } from "../watchers.ts";
import { redisError } from "./client.ts";
import type { Hearing, Listener } from "./clients/wire.ts";

export interface Watch {
  readonly watch: NonNullable<Store["watch"]>;
  readonly close: () => void;
}

/** Watching over a listener, which is made with the first watcher. */
export function createWatch(
  listen: (hearing: Hearing) => Listener,
  names: {
    readonly channelOf: (id: RecordId) => string;
    readonly idOf: (channel: string) => RecordId;
  },
): Watch {
  const watchers = createWatchers();
  const confirmed = new Map<RecordId, Promise<unknown>>();
  let listener: Listener | undefined;
  let closed = false;

  const heard = (channel: string): void => watchers.nudge(names.idOf(channel));
  // What was published meanwhile is lost: everybody looks again now, and when it listens again.
  const missed = (): void => {
    watchers.nudgeAll();
    for (const id of watchers.ids()) {
      subscribe(id).then(
        () => watchers.nudge(id),
        () => undefined, // whoever waits polls
      );
    }
  };

  async function subscribe(id: RecordId): Promise<unknown> {
    listener ??= listen({ heard, missed });
    const confirmation = listener.add(names.channelOf(id));
    confirmed.set(id, confirmation);
    return confirmation;
  }

  async function unsubscribe(id: RecordId): Promise<void> {
    if (watchers.has(id)) return;
    confirmed.delete(id);
    // A subscription that a lost connection leaves behind ends with the connection.
    await listener?.remove(names.channelOf(id)).catch(() => undefined);
  }

  return {
    watch: async (id, onNudge) => {
      if (closed) throw redisError("The store is closed.");
      const remove = watchers.add(id, onNudge);
      const leave = (): void => {
        remove();
        void unsubscribe(id);
      };
      try {
        await (confirmed.get(id) ?? subscribe(id));
      } catch (error) {
        leave();
        throw redisError(error);
      }
      return leave;
    },
    close: () => {
      closed = true;
      listener?.close();
      listener = undefined;
      confirmed.clear();
    },
  };
}
