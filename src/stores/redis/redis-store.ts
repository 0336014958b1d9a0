/**
 * The Redis store: every command is one Lua script on one key, judged by the server's clock. The
 * scripts restate `machine/transition.ts`; the tests walk random histories through both.
 */
import type { RecordId } from "../../machine/record.ts";
import type { Store } from "../store.ts";
import { senderOf } from "./client.ts";
import type { Argument, RedisClient } from "./client.ts";
import { dismissNotes, listNotes, listRecords, writeNote } from "./listing.ts";
import type { Listing } from "./listing.ts";
import { claimReply, plainReply, recordReply } from "./replies.ts";
import { composeScripts, runScript } from "./scripts.ts";
import type { ScriptName } from "./scripts.ts";
import { checkClient, checkServer } from "./self-test.ts";

export type { RedisClient } from "./client.ts";

export interface RedisStoreOptions {
  /** Begins the name of every Redis key. Default `"latchkey:"`. */
  readonly prefix?: string;
  /** Accept a Redis that may evict records: then a payment may run twice. Default false. */
  readonly allowVolatile?: boolean;
}

/**
 * A store in Redis or Valkey 7.0 or newer, through your own ioredis or node-redis client, which
 * stays open on `close()`. Throws `TypeError` for a client of another shape; call `check()` at
 * start-up.
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions = {}): Store {
  return createRedisStore(client, options, composeScripts());
}

/** `redisStore` over given scripts, so that tests can bring a clock of their own. */
export function createRedisStore(
  client: RedisClient,
  { prefix = "latchkey:", allowVolatile = false }: RedisStoreOptions,
  scripts: ReturnType<typeof composeScripts>,
): Store {
  const send = senderOf(client);
  const keyOf = (id: RecordId): string => prefix + id;
  const run = (name: ScriptName, id: RecordId, ...args: Argument[]) =>
    runScript(send, scripts[name], [keyOf(id), ...args]);

  const get: Store["get"] = async (id) => recordReply(await run("get", id));
  const listing: Listing = {
    send,
    prefix,
    head: async (id, state) => recordReply(await run("get", id, "head", state ?? "")),
  };

  const store: Store = {
    name: "redis",
    claim: async (id, { owner, fingerprint, operation, leaseMs, retentionMs, onAbandoned }) => {
      const times = [String(leaseMs), String(retentionMs)];
      const args = [owner, fingerprint, operation, ...times, onAbandoned];
      return claimReply(await run("claim", id, ...args));
    },
    renew: async (id, owner, leaseMs) =>
      plainReply(await run("renew", id, owner, String(leaseMs)), ["renewed", "lease-lost"]),
    commit: async (id, owner) =>
      plainReply(await run("commit", id, owner), ["committed", "lease-lost"]),
    step: async (id, { owner, name, result }) =>
      plainReply(await run("step", id, owner, name, result), ["recorded", "lease-lost"]),
    complete: async (id, { owner, result, retentionMs }) => {
      const reply = await run("complete", id, owner, result, String(retentionMs));
      return plainReply(reply, ["recorded", "lease-lost"]);
    },
    release: async (id, owner) =>
      plainReply(await run("release", id, owner), ["released", "in-doubt", "lease-lost"]),
    resolve: async (id, { outcome, by, note }) => {
      const executed = outcome.kind !== "not-executed";
      const more = executed ? [outcome.result, String(outcome.retentionMs)] : [];
      const reply = await run("resolve", id, by, note, outcome.kind, ...more);
      return plainReply(reply, ["resolved", "not-in-doubt"]);
    },
    get,
    list: (query = {}) => listRecords(listing, query),
    note: (note) => writeNote(listing, note),
    attention: (query = {}) => listNotes(listing, query),
    dismiss: (id) => dismissNotes(listing, id),
    forget: async (id) => Number(await send("DEL", [keyOf(id)])) === 1,
    sweep: async () => 0, // Redis expires records by itself
    check: async () => {
      await checkServer(send, allowVolatile);
      await checkClient(store, send, keyOf);
    },
    close: async () => {},
  };
  return store;
}
