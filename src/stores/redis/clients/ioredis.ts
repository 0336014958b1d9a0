/**
 * ioredis 5 and 6 and iovalkey, one server or behind Sentinels (the same class). The cluster client
 * of the family is in `ioredis-cluster.ts`.
 */
import { eventsOf, quiet } from "./wire.ts";
import type { Emitter, Hearing, Listener, OwnWire, Wire, WireCommand } from "./wire.ts";

/** ioredis or iovalkey: `new Redis()`, `new Cluster()`. */
export interface IoredisClient {
  callBuffer(command: string, ...args: (string | Buffer)[]): Promise<unknown>;
}
/** The options that matter here. */
export interface IoredisOptions {
  readonly keyPrefix?: string | Buffer;
  /** The client makes a pipeline of whatever is sent in one tick. */
  readonly enableAutoPipelining?: boolean;
}
/** A client that can be told to pipeline; wrappers may lack that. */
export interface Pipelining {
  pipeline(): Pipeline;
}
interface Pipeline {
  callBuffer(command: string, ...args: (string | Buffer)[]): unknown;
  exec(): Promise<readonly (readonly [Error | null, unknown])[] | null>;
}
/** The rest of a single client, which wrappers may lack. */
export interface IoredisSingle extends IoredisClient, Emitter {
  on?(event: string, listener: (channel: string) => void): unknown;
  readonly status?: string;
  readonly options?: IoredisOptions;
  duplicate?(override: object): IoredisSingle;
  ssubscribe?(channel: string): Promise<unknown>;
  sunsubscribe?(channel: string): Promise<unknown>;
  disconnect?(): void;
}

// A connection of ours queues while it connects and fails, instead of waiting, while it cannot.
const ours = {
  lazyConnect: false,
  enableOfflineQueue: true,
  maxRetriesPerRequest: 1,
  enableAutoPipelining: false,
};

/** How to send through `new Redis()`. */
export function ioredisWire(client: IoredisSingle): Wire {
  const send = sendThrough(client);
  const copyable = typeof client.duplicate === "function";
  const subscribes = copyable && typeof client.ssubscribe === "function";
  return {
    send,
    masters: async () => [{ address: "", send }],
    isCluster: false,
    laneOf: () => "",
    // Written in one tick they stay together, in this order.
    exchange: (_key, commands) => Promise.allSettled(commands.map(send)),
    keyPrefix: String(client.options?.keyPrefix ?? ""),
    onChange: eventsOf(client, "ready"),
    ...(copyable && { duplicate: () => ownWire(client) }),
    ...(subscribes && { listen: (hearing) => listenOn(client, hearing) }),
  };
}

interface Sending extends IoredisClient, Partial<Pipelining> {
  readonly options?: IoredisOptions;
}

function canPipeline<C extends Sending>(client: C): client is C & Pipelining {
  return client.pipeline !== undefined;
}

/** Sending through a client of this family. */
export function sendThrough(client: Sending): Wire["send"] {
  // Its own pipelines lose the name of a command that is called by its name: ours do not.
  if (client.options?.enableAutoPipelining === true && canPipeline(client)) {
    return async (command) => {
      const [outcome] = await pipelined(client, [command]);
      if (outcome?.status !== "fulfilled") throw outcome?.reason;
      return outcome.value;
    };
  }
  // iovalkey finds the keys of a command, and with them its node, only by its name in lower case.
  return ([name, ...args]) => client.callBuffer(name.toLowerCase(), ...args);
}

/** The commands in one pipeline. In a cluster it goes to the node of their keys as a whole. */
export async function pipelined(
  client: Pipelining,
  commands: readonly WireCommand[],
): ReturnType<Wire["exchange"]> {
  const pipeline = client.pipeline();
  for (const [name, ...args] of commands) pipeline.callBuffer(name.toLowerCase(), ...args);
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, value]) =>
    error ? { status: "rejected", reason: error } : { status: "fulfilled", value },
  );
}

function ownWire(client: IoredisSingle): OwnWire {
  const copy = duplicateOf(client);
  return {
    ...ioredisWire(copy),
    opened: Promise.resolve(), // it queues until then
    isOver: () => copy.status === "end",
    close: () => copy.disconnect?.(),
  };
}

function duplicateOf(client: IoredisSingle, override: object = {}): IoredisSingle {
  const copy = client.duplicate?.({ ...ours, ...override });
  if (copy === undefined) throw new TypeError("This client of ioredis cannot be duplicated.");
  return quiet(copy);
}

/** Subscribes on one connection of its own, made with the first channel. */
export function listenOn(client: IoredisSingle, { heard, missed }: Hearing): Listener {
  let current: Subscriber | undefined;

  function connect(): Subscriber {
    const made = createSubscriber(client);
    const { copy } = made;
    let wasReady = false;
    copy.on?.("smessage", heard);
    copy.on?.("ready", () => {
      if (wasReady) missed();
      wasReady = true;
    });
    copy.on?.("end", () => {
      if (current === made) current = undefined;
      if (wasReady) missed();
    });
    return made;
  }

  return {
    add: async (channel) => {
      const { copy, broken } = (current ??= connect());
      return Promise.race([copy.ssubscribe?.(channel), broken]);
    },
    remove: async (channel) => current?.copy.sunsubscribe?.(channel),
    close: () => {
      const last = current;
      current = undefined;
      last?.copy.disconnect?.();
    },
  };
}

interface Subscriber {
  readonly copy: IoredisSingle;
  /** Rejects once this connection is of no use any more. */
  readonly broken: Promise<never>;
}

function createSubscriber(client: IoredisSingle): Subscriber {
  // The channels are whole names, and who listens subscribes again after a loss.
  const copy = duplicateOf(client, { keyPrefix: "", autoResubscribe: false });
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => undefined); // often nobody waits for it
  const give = (): void => {
    broken.reject(new Error("The connection for subscriptions was lost."));
    copy.disconnect?.();
  };
  // ioredis 5 drops the reply to a subscription whose slot is elsewhere, and takes the end of one
  // whose slot moves for a broken queue, from which it never recovers.
  copy.on?.("moved", give);
  copy.on?.("error", give);
  return { copy, broken: broken.promise };
}
