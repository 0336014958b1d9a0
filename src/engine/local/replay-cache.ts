/**
 * The replay cache: results that the store has given out lately, so that a burst of retries costs
 * it one question. A completed record does not change until its retention ends, unless an operator
 * forgets it: so nothing is kept for longer than `maxAge`, whatever the clocks do.
 */
import { durationMs } from "../../duration.ts";
import type { Duration } from "../../duration.ts";
import type { ClaimReply, Fingerprint, RecordId } from "../../machine/record.ts";
import type { Runtime } from "../runtime.ts";
import { isSame } from "./same.ts";

export interface ReplayCacheOptions {
  /** Most bytes of results kept by this process; the least lately used ones go first. */
  readonly maxBytes: number;
  /**
   * How long a result is given out without asking the store, and so how long this process may
   * contradict an operator's `forget`. Default `"10s"`.
   */
  readonly maxAge?: Duration;
}

/** Defaults of the replay cache. */
export const replayCacheDefaults: Readonly<{ maxAge: Duration }> = Object.freeze({ maxAge: "10s" });

type Completed = Extract<ClaimReply, { readonly kind: "completed" }>;

export interface ReplayCache {
  /** Remembers a reply of the store that was asked for at `askedAtMs` (monotonic). */
  readonly keep: (id: RecordId, fingerprint: Fingerprint, reply: KeptReply) => void;
  /** The store has said something else of this record since. */
  readonly forget: (id: RecordId) => void;
  /** What the store would say; `undefined` where it must be asked. */
  readonly find: (id: RecordId, fingerprint: Fingerprint) => Completed | undefined;
}
export interface KeptReply {
  readonly reply: Completed;
  readonly askedAtMs: number;
}

interface Entry extends KeptReply {
  readonly fingerprint: Fingerprint;
  readonly bytes: number;
}

/** What an entry takes beside its result: names, numbers and the map's own. */
const entryBytes = 512;

const none: ReplayCache = { keep: () => {}, forget: () => {}, find: () => undefined };

/** An empty cache, or none without options. Throws `TypeError` on a wrong option. */
export function createReplayCache(runtime: Runtime, options?: ReplayCacheOptions): ReplayCache {
  if (options === undefined) return none;
  const { maxBytes, maxAge = replayCacheDefaults.maxAge } = options;
  if (!Number.isInteger(maxBytes) || maxBytes < 1) {
    throw new TypeError(`replayCache.maxBytes must be a whole number of bytes; got ${maxBytes}.`);
  }
  const maxAgeMs = durationMs(maxAge, "replayCache.maxAge");
  // A Map remembers the order of its insertions: the first entry is the least lately used.
  const entries = new Map<RecordId, Entry>();
  let total = 0;

  function drop(id: RecordId): void {
    total -= entries.get(id)?.bytes ?? 0;
    entries.delete(id);
  }

  return {
    keep: (id, fingerprint, { reply, askedAtMs }) => {
      drop(id);
      const bytes = reply.result.length + entryBytes;
      if (bytes > maxBytes) return;
      // A copy: the bytes may be a small part of a large buffer, which must not be kept with them.
      const copy = { ...reply, result: Uint8Array.from(reply.result) };
      entries.set(id, { fingerprint, reply: copy, askedAtMs, bytes });
      total += bytes;
      for (const [oldest] of entries) {
        if (total <= maxBytes) break;
        drop(oldest);
      }
    },
    forget: drop,
    find: (id, fingerprint) => {
      const entry = entries.get(id);
      if (entry === undefined) return undefined;
      // Counted from before the question, so that it never outlives the record.
      const ageMs = runtime.nowMs() - entry.askedAtMs;
      const expiresInMs = Math.floor(entry.reply.expiresInMs - ageMs);
      if (ageMs >= maxAgeMs || expiresInMs <= 0) {
        drop(id);
        return undefined;
      }
      if (!isSame(entry.fingerprint, fingerprint)) return undefined;
      entries.delete(id);
      entries.set(id, entry);
      return { ...entry.reply, expiresInMs };
    },
  };
}
