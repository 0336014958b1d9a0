/**
 * What the Redis store needs of any client: sending, one connection for commands that belong
 * together, every master, and listening. How each client does it is in the files beside this one.
 */

/** An argument of a command; results are bytes. */
export type Argument = string | Uint8Array;
/** A command and its arguments, as drivers take them. */
export type WireCommand = readonly [name: string, ...args: (string | Buffer)[]];
/** What became of one command. */
export type Outcome = PromiseSettledResult<unknown>;

/** A master on its own: for commands that have no key. */
export interface Master {
  /** `host:port` in a cluster; empty where there is but one. */
  readonly address: string;
  readonly send: (command: WireCommand) => Promise<unknown>;
}

/** Subscriptions to channels of the cluster's shards, on connections of their own. */
export interface Listener {
  /** Resolves once the server has confirmed; a channel may be added again. */
  readonly add: (channel: string) => Promise<unknown>;
  readonly remove: (channel: string) => Promise<unknown>;
  readonly close: () => void;
}
export interface Hearing {
  /** Something was published on a channel. */
  readonly heard: (channel: string) => void;
  /** A connection was lost and is back, or gone: messages may have been missed. */
  readonly missed: () => void;
}

export interface Wire {
  /** Sends one command to the master of its key; bulk strings come back as Buffers. */
  readonly send: (command: WireCommand) => Promise<unknown>;
  readonly masters: () => Promise<readonly Master[]>;
  /** Whether it keeps a connection to each of several masters. */
  readonly isCluster: boolean;
  /** Keys of one lane share a connection, so that their commands can be exchanged together. */
  readonly laneOf: (key: string) => string;
  /** The commands over the connection of `key`, one after another; none fails another. */
  readonly exchange: (key: string, commands: readonly WireCommand[]) => Promise<readonly Outcome[]>;
  /** Gives back what `exchange` keeps of a client that is not ours. */
  readonly release?: () => void;
  /** What the client itself puts before every key. */
  readonly keyPrefix: string;
  /** The same client on connections of its own; absent where a client cannot be copied. */
  readonly duplicate?: () => OwnWire;
  /** Told when a connection is back or the servers have changed; returns what ends it. */
  readonly onChange?: (listener: () => void) => () => void;
  /** Absent where the client cannot subscribe. */
  readonly listen?: (hearing: Hearing) => Listener;
}
export interface OwnWire extends Wire {
  /** Settles once it can be used, or cannot. */
  readonly opened: Promise<unknown>;
  /** Whether it has given up connecting for good. */
  readonly isOver: () => boolean;
  readonly close: () => void;
}

/** A client that is not ours, used as if it were: it stays open. */
export function lent(wire: Wire): OwnWire {
  const close = (): void => wire.release?.();
  return { ...wire, opened: Promise.resolve(), isOver: () => false, close };
}

/** The key that a command of this store is about: the first of a script, or the first argument. */
export function keyOf([name, ...args]: WireCommand): string | Buffer | undefined {
  return name === "EVAL" || name === "EVALSHA" ? args[2] : args[0];
}

/** Something with Node's events, as far as this store listens to clients. */
export interface Emitter {
  on?(event: string, listener: () => void): unknown;
  off?(event: string, listener: () => void): unknown;
}

/** Listening to one event of a client, for `onChange`. */
export function eventsOf(client: Emitter, event: string): NonNullable<Wire["onChange"]> {
  return (listener) => {
    client.on?.(event, listener);
    return () => void client.off?.(event, listener);
  };
}

/** Errors of a connection of ours are told by the commands on it, not by an event. */
export function quiet<T extends Emitter>(client: T): T {
  client.on?.("error", () => undefined);
  return client;
}
