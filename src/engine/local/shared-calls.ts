/**
 * Duplicates that arrive together ask the store once. A reply is shared only with who came before
 * its question was asked: who came later may have been told something newer already.
 */
import type { Fingerprint, RecordId } from "../../machine/record.ts";
import { isSame } from "./same.ts";

export interface Asked<Reply> {
  readonly reply: Reply;
  /** This very caller's question was answered: a claim in the reply is its own. */
  readonly own: boolean;
}

export interface SharedCalls<Reply> {
  /** The reply of this call, or of an equal one that serves as well. At most two calls long. */
  readonly ask: (
    id: RecordId,
    fingerprint: Fingerprint,
    call: () => Promise<Reply>,
  ) => Promise<Asked<Reply>>;
}

interface Flight<Reply> {
  readonly fingerprint: Fingerprint;
  readonly startedAt: number;
  readonly reply: Promise<Reply>;
}

/** `isForAll`: a reply that later comers may share, too. */
export function createSharedCalls<Reply>(isForAll: (reply: Reply) => boolean): SharedCalls<Reply> {
  const flights = new Map<RecordId, Flight<Reply>>();
  let moments = 0; // an order of events, not a clock

  async function fly(
    id: RecordId,
    fingerprint: Fingerprint,
    call: () => Promise<Reply>,
  ): Promise<Asked<Reply>> {
    const flight = { fingerprint, startedAt: (moments += 1), reply: call() };
    flights.set(id, flight);
    try {
      return { reply: await flight.reply, own: true };
    } finally {
      flights.delete(id);
    }
  }

  return {
    ask: async (id, fingerprint, call) => {
      const arrivedAt = (moments += 1);
      for (;;) {
        const flight = flights.get(id);
        if (flight === undefined) return fly(id, fingerprint, call);
        if (!isSame(flight.fingerprint, fingerprint)) return { reply: await call(), own: true };
        const reply = await flight.reply;
        if (flight.startedAt > arrivedAt || isForAll(reply)) return { reply, own: false };
      }
    },
  };
}
