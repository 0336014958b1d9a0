/**
 * Acknowledged writes: a command counts only once replicas (or the disk) have it, so that a
 * failover cannot forget it. Each batch of commands goes with a WAIT over one connection of the
 * store's own, for WAIT blocks its connection and counts only that connection's writes (S-10).
 */
import { durationMs } from "../../duration.ts";
import type { Duration } from "../../duration.ts";
import { LatchkeyError } from "../../errors.ts";
import { isNoScript, isRedirection, redisError, toWire, wireOf } from "./client.ts";
import type { Argument, RedisClient, Wire } from "./client.ts";
import { lent } from "./clients/wire.ts";
import type { Outcome, OwnWire, WireCommand } from "./clients/wire.ts";
import type { Reply } from "./replies.ts";
import type { Script } from "./scripts.ts";

/** Commands that can be acknowledged. */
export type AcknowledgedCommand = "claim" | "renew" | "commit" | "step" | "complete" | "resolve";

export interface AcknowledgeOptions {
  /** How many replicas must have the write. Default 1; 0 with `disk: true`. */
  readonly replicas?: number;
  /**
   * The write must be in the append-only file on disk, here and (if any are asked for) on the
   * replicas. Needs Redis or Valkey 7.2. Default false.
   */
  readonly disk?: boolean;
  /** How long to wait for them. Default `"500ms"`. */
  readonly timeout?: Duration;
  /** Which commands wait. Default: all six. `["commit"]` is enough where work calls `commit()`. */
  readonly commands?: readonly AcknowledgedCommand[];
  /** A client of its own for these commands, where `client.duplicate()` does not exist (GLIDE). */
  readonly client?: RedisClient;
}

const everyCommand: readonly AcknowledgedCommand[] = Object.freeze([
  "claim",
  "renew",
  "commit",
  "step",
  "complete",
  "resolve",
]);

export interface Guard {
  /** What every master must be able to do. */
  readonly needs: { readonly replicas: number; readonly disk: boolean };
  readonly covers: (command: string) => boolean;
  /** Runs a script on its first argument; rejects a change that was not acknowledged. */
  readonly run: (script: Script, args: readonly Argument[]) => Promise<Reply>;
  readonly close: () => void;
}

interface Terms {
  readonly replicas: number;
  readonly timeoutMs: number;
  readonly wait: WireCommand;
}
interface Job {
  readonly script: Script;
  readonly args: readonly (string | Buffer)[];
  readonly settled: PromiseWithResolvers<Reply>;
}

/** A guard over a client's duplicate; throws `TypeError` for wrong options. */
export function createGuard(wire: Wire, options: AcknowledgeOptions): Guard {
  const terms = termsOf(options);
  const commands = commandsOf(options);
  const open = opener(wire, options.client);
  let current: Connection | undefined;
  let closed = false;

  function connection(): Connection {
    if (closed) throw redisError("The store is closed.");
    if (current?.own.isOver() === true) drop(current);
    if (current !== undefined) return current;
    const made = connect(open(), terms, () => drop(made));
    current = made;
    made.own.opened.catch(() => drop(made));
    return made;
  }
  function drop(broken: Connection): void {
    if (current === broken) current = undefined;
    broken.own.close();
  }

  return {
    needs: { replicas: terms.replicas, disk: options.disk === true },
    covers: (command) => commands.includes(command),
    run: async (script, args) => {
      const job = { script, args: args.map(toWire), settled: Promise.withResolvers<Reply>() };
      await connection().add(job);
      return job.settled.promise;
    },
    close: () => {
      closed = true;
      if (current !== undefined) drop(current);
    },
  };
}

/** How to open a connection of our own: a duplicate, or the client that was given for it. */
function opener(wire: Wire, client: RedisClient | undefined): () => OwnWire {
  if (client !== undefined) {
    const given = wireOf(client);
    return () => lent(given);
  }
  if (wire.duplicate !== undefined) return wire.duplicate;
  throw new TypeError(
    "acknowledge needs a client of its own where the client has no duplicate(). " +
      "Give it one: acknowledge: { client }.",
  );
}

function commandsOf({ commands = everyCommand }: AcknowledgeOptions): readonly string[] {
  const unknown = commands.find((command) => !everyCommand.includes(command));
  if (unknown === undefined) return commands;
  throw new TypeError(
    `acknowledge.commands must be some of ${everyCommand.join(", ")}; got ${unknown}.`,
  );
}

function termsOf(options: AcknowledgeOptions): Terms {
  const { disk = false, replicas = disk ? 0 : 1, timeout = "500ms" } = options;
  if (!Number.isInteger(replicas) || replicas < (disk ? 0 : 1)) {
    throw new TypeError(
      `acknowledge.replicas must be a whole number from 1; got ${String(replicas)}.`,
    );
  }
  const timeoutMs = durationMs(timeout, "acknowledge.timeout");
  const [count, ms] = [String(replicas), String(timeoutMs)];
  return { replicas, timeoutMs, wait: disk ? ["WAITAOF", "1", count, ms] : ["WAIT", count, ms] };
}

interface Connection {
  readonly own: OwnWire;
  /** Takes a command into the next batch of its lane. */
  readonly add: (job: Job) => Promise<void>;
}

function connect(own: OwnWire, terms: Terms, onSilence: () => void): Connection {
  const lanes = new Map<string, Job[]>();

  // One batch at a time in each lane; what comes meanwhile makes up the next.
  async function drain(lane: string, jobs: Job[]): Promise<void> {
    while (jobs.length > 0) await runBatch({ own, terms, onSilence }, jobs.splice(0, mostJobs));
    lanes.delete(lane);
  }

  return {
    own,
    add: async (job) => {
      await own.opened.catch((error: unknown) => {
        throw redisError(error);
      });
      const lane = own.laneOf(String(job.args[0]));
      const jobs = lanes.get(lane);
      if (jobs !== undefined) return void jobs.push(job);
      const first = [job];
      lanes.set(lane, first);
      void drain(lane, first);
    },
  };
}

interface Batch {
  readonly own: OwnWire;
  readonly terms: Terms;
  /** The connection does not answer any more: the next batch gets another one. */
  readonly onSilence: () => void;
}

/** Settles every job: with its reply, or with why it does not count. Never rejects. */
async function runBatch(batch: Batch, jobs: readonly Job[]): Promise<void> {
  try {
    const unknown = await attempt(batch, jobs, "EVALSHA");
    if (unknown.length > 0) await attempt(batch, unknown, "EVAL");
  } catch (error) {
    for (const { settled } of jobs) settled.reject(redisError(error));
  }
}

/** One exchange; returns the jobs whose script the server does not know. */
async function attempt(
  { own, terms, onSilence }: Batch,
  jobs: readonly Job[],
  how: "EVALSHA" | "EVAL",
): Promise<readonly Job[]> {
  const scripts = jobs.map(({ script, args }): WireCommand => {
    return [how, how === "EVAL" ? script.text : script.digest, "1", ...args];
  });
  const commands = [whoAmI, ...scripts, terms.wait, whoAmI];
  const exchange = own.exchange(String(jobs[0]?.args[0]), commands);
  const outcomes = await within(terms.timeoutMs + graceMs, exchange, () => {
    if (!own.isCluster) onSilence(); // the other masters' commands are on it, too
  });
  const acknowledged = isAcknowledged(outcomes, terms);
  const unknown: Job[] = [];
  for (const [index, job] of jobs.entries()) {
    const outcome = outcomes[index + 1];
    if (how === "EVALSHA" && outcome?.status === "rejected" && isNoScript(outcome.reason)) {
      unknown.push(job);
    } else settle(job, { outcome, acknowledged, own });
  }
  return unknown;
}

interface Verdict {
  readonly outcome: Outcome | undefined;
  readonly acknowledged: boolean;
  readonly own: Wire;
}
function settle({ script, args, settled }: Job, { outcome, acknowledged, own }: Verdict): void {
  if (outcome?.status === "fulfilled") {
    const reply = outcome.value as Reply;
    const counts = acknowledged || !changing.has(String(reply[0]));
    return counts ? settled.resolve(reply) : settled.reject(unacknowledged());
  }
  if (!isRedirection(outcome?.reason)) return settled.reject(redisError(outcome?.reason));
  // Sent the common way, so that the client follows and learns; the repetition is acknowledged.
  void own
    .send(["EVAL", script.text, "1", ...args])
    .then(unacknowledged, redisError)
    .then(settled.reject);
}

/** Replies after which a failover must not forget the write. */
const changing: ReadonlySet<string> = new Set([
  "claimed",
  "renewed",
  "committed",
  "recorded",
  "resolved",
]);
const mostJobs = 128;
/** How much longer than the timeout the server's word may take. */
const graceMs = 1000;
const whoAmI: WireCommand = ["CLIENT", "INFO"];

// A WAIT on another connection than the writes counts nothing: a driver may have reconnected.
function isAcknowledged(outcomes: readonly Outcome[], { replicas, wait }: Terms): boolean {
  const [before, waited, after] = [outcomes[0], outcomes.at(-2), outcomes.at(-1)];
  if (waited?.status !== "fulfilled") return false;
  const connection = connectionOf(before);
  if (connection === undefined || connection !== connectionOf(after)) return false;
  if (wait[0] === "WAIT") return Number(waited.value) >= replicas;
  const [here, there] = waited.value as readonly unknown[];
  return Number(here) >= 1 && Number(there) >= replicas;
}

function connectionOf(outcome: Outcome | undefined): string | undefined {
  if (outcome?.status !== "fulfilled") return undefined;
  return /\bid=\d+ addr=\S+ laddr=\S+/.exec(String(outcome.value))?.[0];
}

async function within<T>(limitMs: number, work: Promise<T>, onSilence: () => void): Promise<T> {
  const silence = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    silence.reject(new Error(`no answer within ${limitMs} ms`));
    onSilence();
  }, limitMs);
  try {
    return await Promise.race([work, silence.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function unacknowledged(): LatchkeyError {
  return new LatchkeyError(
    "store-unavailable",
    "Redis wrote, but its replicas or its disk did not acknowledge in time. Check their links.",
    { retryAfterMs: 1000 },
  );
}
