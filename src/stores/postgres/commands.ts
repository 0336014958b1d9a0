/**
 * The commands of the contract as calls of the schema's functions, on any connection: a pool, a
 * client, or a transaction that somebody else began. One call is one round trip.
 */
import type { RecordId } from "../../machine/record.ts";
import { pageLimit, pageOf } from "../listing.ts";
import type { Store } from "../store.ts";
import type { Connection, Parameter, Row } from "./client.ts";
import {
  claimReply,
  countReply,
  notesReply,
  pageReply,
  plainReply,
  recordReply,
} from "./replies.ts";

/** Calls one function of the schema; its rows. */
export type Call = (name: string, ...values: readonly Parameter[]) => Promise<readonly Row[]>;

/** How to call functions on a connection; `render` puts the schema's name in. */
export function callerOn(
  { query }: Pick<Connection, "query">,
  render: (text: string) => string,
): Call {
  return (name, ...values) => {
    const places = values.map((_, index) => `$${index + 1}`).join(", ");
    return query(render(`SELECT * FROM latchkey.${name}(${places}) AS answer`), values);
  };
}

/** What of the contract is the call of a function. */
export type Commands = Omit<
  Store,
  "name" | "isTransaction" | "within" | "watch" | "sweep" | "check" | "close"
>;

/** The commands over calls; `within` a transaction whose end is the end of its claim. */
export function commandsOn(call: Call, within: boolean = false): Commands {
  return {
    claim: async (id, { owner, fingerprint, operation, leaseMs, retentionMs, onAbandoned }) => {
      const times = [String(leaseMs), String(retentionMs)];
      const what = [id, owner, fingerprint, storable(operation)];
      return claimReply(await call("claim", ...what, ...times, onAbandoned, String(within)));
    },
    renew: async (id, owner, leaseMs) =>
      plainReply(await call("renew", id, owner, String(leaseMs)), ["renewed", "lease-lost"]),
    commit: async (id, owner) =>
      plainReply(await call("commit", id, owner), ["committed", "lease-lost"]),
    step: async (id, { owner, name, result }) =>
      plainReply(await call("step", id, owner, name, result), ["recorded", "lease-lost"]),
    complete: async (id, { owner, result, retentionMs }) => {
      const rows = await call("complete", id, owner, result, String(retentionMs));
      return plainReply(rows, ["recorded", "lease-lost"]);
    },
    release: async (id, owner) =>
      plainReply(await call("release", id, owner), ["released", "in-doubt", "lease-lost"]),
    resolve: async (id, { attempt, outcome, by, note }) => {
      const executed = outcome.kind !== "not-executed";
      const more = executed ? [outcome.result, String(outcome.retentionMs)] : [null, null];
      const said = [String(attempt), storable(by), storable(note), outcome.kind];
      return plainReply(await call("resolve", id, ...said, ...more), ["resolved", "not-in-doubt"]);
    },
    get: async (id) => recordReply(await call("get", id)),
    forget: async (id) => countReply(await call("forget", id)) > 0,
    list: async (query = {}) => {
      const limit = String(pageLimit(query));
      return pageReply(await call("list", query.state ?? null, limit, query.after ?? null));
    },
    note: async ({ id, reason, operation }) => {
      plainReply(await call("note", id, reason, storable(operation)), ["noted"]);
    },
    attention: async (query = {}) => {
      const limit = pageLimit(query);
      const [, id = "", reason = ""] = /^(.*) (.*)$/s.exec(query.after ?? "") ?? [];
      const found = notesReply(await call("attention", String(limit + 1), id, reason));
      const { entries, ...rest } = pageOf(found, limit, (one) => `${one.id} ${one.reason}`);
      return { notes: entries, ...rest };
    },
    dismiss: async (id) => countReply(await call("dismiss", id)),
  };
}

/** Deletes one batch of records whose retention is over; returns how many. */
export async function sweepBatch(call: Call, limit: number): Promise<number> {
  return countReply(await call("sweep", String(limit)));
}

/** Asks whoever settles the record within `forMs` to notify. */
export async function askForNudge(call: Call, id: RecordId, forMs: number): Promise<void> {
  plainReply(await call("watch", id, String(forMs)), ["watched", "absent", "unseen"]);
}

// The one character that Postgres cannot keep in a text.
function storable(words: string): string {
  return words.replaceAll("\0", "\u{FFFD}");
}
