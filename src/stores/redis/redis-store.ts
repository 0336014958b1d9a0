/**
 * The Redis store: every command is one Lua script on one key, judged by the server's clock. The
 * scripts restate `machine/transition.ts`; the tests walk random histories through both.
 */
import type { RecordId } from "../../machine/record.ts";
import type { Store } from "../store.ts";
import { createGuard } from "./acknowledge.ts";
import type { AcknowledgeOptions } from "./acknowledge.ts";
import { linkOf, wireOf } from "./client.ts";
import type { Argument, RedisClient, Wire } from "./client.ts";
import { dismissNotes, listNotes, listRecords, writeNote } from "./listing.ts";
import type { Listing } from "./listing.ts";
import { claimReply, plainReply, recordReply } from "./replies.ts";
import type { Reply } from "./replies.ts";
import { composeScripts, runScript } from "./scripts.ts";
import type { ScriptName } from "./scripts.ts";
import { checkClient } from "./self-test.ts";
import { checkAgain, checkServers } from "./server-check.ts";
import { createWatch } from "./watch.ts";
import type { Watch } from "./watch.ts";

export type { AcknowledgeOptions } from "./acknowledge.ts";
export type { RedisClient } from "./client.ts";

export interface RedisStoreOptions {
  /** Begins the name of every Redis key. Default `"latchkey:"`. */
  readonly prefix?: string;
  /**
   * Accept a Redis that may evict records or does not persist them: then a payment may run twice.
   * Default false.
   */
  readonly allowVolatile?: boolean;
  /** Writes count only once replicas or the disk have them. Default: as soon as the master has. */
  readonly acknowledge?: AcknowledgeOptions;
  /**
   * A client to copy for the connection that wakes waiters, where `client` itself cannot subscribe
   * (GLIDE, pools); `false`: waiters poll. Default: a copy of `client`, made when somebody waits.
   */
  readonly subscriber?: RedisClient | false;
}

/**
 * A store in Redis or Valkey 7.0 or newer, single, Sentinel or Cluster, through your own client of
 * ioredis, iovalkey, node-redis or Valkey GLIDE, which stays open on `close()`. Throws `TypeError`
 * for a client of another shape; call `check()` at start-up.
 */
export function redisStore(client: RedisClient, options: RedisStoreOptions = {}): Store {
  return createRedisStore(client, options, composeScripts());
}

/** `redisStore` over given scripts, so that tests can bring a clock of their own. */
export function createRedisStore(
  client: RedisClient,
  options: RedisStoreOptions,
  scripts: ReturnType<typeof composeScripts>,
): Store {
  const { prefix = "latchkey:", allowVolatile = false, acknowledge } = options;
  const wire = wireOf(client);
  const link = linkOf(wire);
  const guard = acknowledge === undefined ? undefined : createGuard(wire, acknowledge);
  const watch = watchOver(wire, { prefix, subscriber: options.subscriber });
  let stopChecking = (): void => {};

  const run: Run = (name, id, ...args) => {
    const all = [prefix + id, ...args];
    if (guard?.covers(name)) return guard.run(scripts[name], all);
    return runScript(link.send, scripts[name], all);
  };
  const listing: Listing = {
    link,
    prefix,
    head: async (id, state) => recordReply(await run("get", id, "head", state ?? "")),
    writeNote: (key, args) => runScript(link.send, scripts.note, [key, ...args]),
  };
  const store: Store = {
    name: "redis",
    ...claimCommands(run),
    ...operatorCommands(run, listing),
    ...(watch !== undefined && { watch: watch.watch }),
    forget: async (id) => Number(await link.send("DEL", [prefix + id])) === 1,
    sweep: async () => 0, // Redis expires records by itself
    check: async () => {
      const needed = { allowVolatile, replicas: 0, disk: false, ...guard?.needs };
      await checkServers(link, needed);
      await checkClient(store);
      stopChecking();
      stopChecking = wire.onChange?.(() => checkAgain(link, needed)) ?? stopChecking;
    },
    close: async () => {
      stopChecking();
      watch?.close();
      guard?.close();
    },
  };
  return store;
}

type Run = (name: ScriptName, id: RecordId, ...args: Argument[]) => Promise<Reply>;

function claimCommands(
  run: Run,
): Pick<Store, "claim" | "renew" | "commit" | "step" | "complete" | "release"> {
  return {
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
  };
}

function operatorCommands(
  run: Run,
  listing: Listing,
): Pick<Store, "resolve" | "get" | "list" | "note" | "attention" | "dismiss"> {
  return {
    resolve: async (id, { attempt, outcome, by, note }) => {
      const executed = outcome.kind !== "not-executed";
      const more = executed ? [outcome.result, String(outcome.retentionMs)] : [];
      const reply = await run("resolve", id, String(attempt), by, note, outcome.kind, ...more);
      return plainReply(reply, ["resolved", "not-in-doubt"]);
    },
    get: async (id) => recordReply(await run("get", id)),
    list: (query = {}) => listRecords(listing, query),
    note: (note) => writeNote(listing, note),
    attention: (query = {}) => listNotes(listing, query),
    dismiss: (id) => dismissNotes(listing, id),
  };
}

/** Watching through the client or another one; `undefined` where none can subscribe. */
function watchOver(
  wire: Wire,
  options: { readonly prefix: string; readonly subscriber: RedisClient | false | undefined },
): Watch | undefined {
  const { prefix, subscriber } = options;
  if (subscriber === false) return undefined;
  const { listen } = subscriber === undefined ? wire : wireOf(subscriber);
  if (listen === undefined && subscriber !== undefined) {
    throw new TypeError("subscriber must be a client that can be duplicated and subscribes.");
  }
  const head = wire.keyPrefix + prefix;
  return (
    listen &&
    createWatch(listen, {
      channelOf: (id) => head + id,
      idOf: (channel) => channel.slice(head.length) as RecordId,
    })
  );
}
