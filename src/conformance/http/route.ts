/**
 * The client's side of a test route: sends requests with instructions, asks how often the handler
 * ran, and follows one intent (a key, a body, an instruction) through its retries.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Arriving, WireAnswer } from "./wire/answer-reader.ts";
import { brief, check, checkSafe } from "./checks.ts";
import { connect, exchange } from "./wire/connection.ts";
import type { Connection, WireRequest } from "./wire/connection.ts";
import { encodeInstruction, instructionHeader } from "./instruction.ts";
import type { Instruction, Pairs } from "./instruction.ts";
import type { Callers } from "./subject.ts";

/** An instruction with its bodies as text or bytes. */
export interface Tell extends Omit<Instruction, "id" | "body" | "tail" | "fail"> {
  readonly id?: string;
  readonly fail?: Instruction["fail"] | undefined;
  readonly body?: string | Uint8Array;
  readonly tail?: string | Uint8Array;
}

/** A request; what is left out is the intent's, or the default. */
export interface Ask {
  /** Default POST. */
  readonly method?: string;
  /** Appended to the route's path, e.g. `"/1"`. */
  readonly path?: string;
  /** Without its question mark. */
  readonly query?: string;
  /** The key's field lines as they are sent; `[]` sends none. */
  readonly keys?: readonly string[];
  readonly headers?: Pairs;
  /** Default: a small JSON. `null` sends neither body nor length. */
  readonly body?: string | Uint8Array | null;
  readonly mediaType?: string;
  readonly as?: keyof Callers | "nobody";
  readonly tell?: Tell;
}

/** One intent: every `send` carries the same key, body and instruction, unless it is changed. */
export interface Intent {
  readonly id: string;
  readonly key: string;
  readonly send: (change?: Ask) => Promise<WireAnswer>;
  /** Sends, and resolves as soon as the handler runs; it is held for `holdMs`. */
  readonly start: (holdMs: number, change?: Ask) => Promise<Running>;
  readonly request: (change?: Ask) => WireRequest;
  /** The same intent, sent to another server. */
  readonly at: (other: Route) => Intent;
  /** Checks how often the handler ran under this intent's id. */
  readonly ran: (times: number) => Promise<void>;
}

/** A request whose handler is at work. */
export interface Running {
  readonly connection: Connection;
  readonly arriving: Arriving;
  /** Whether its answer has come, or broke off. */
  readonly isOver: () => boolean;
  /** Lets the handler go on, and resolves with its answer. */
  readonly finish: () => Promise<WireAnswer>;
}

export interface Route {
  readonly url: URL;
  readonly timeoutMs: number;
  /** A fresh intent. */
  readonly intent: (tell?: Tell, ask?: Ask) => Intent;
  readonly connect: () => Promise<Connection>;
  readonly executions: (id: string) => Promise<number>;
  readonly release: (id: string) => Promise<void>;
}

export interface RouteOptions {
  readonly callers: Callers;
  readonly timeoutMs: number;
  /** Whether keys are sent as quoted strings. */
  readonly quoted: boolean;
}

/** The client of one test route. */
export function routeAt(address: string, options: RouteOptions): Route {
  const url = new URL(address);
  const { timeoutMs } = options;
  const inquire = async (query: string): Promise<WireAnswer> => {
    const headers: Pairs = options.callers.first;
    const target = `${url.pathname}?${query}`;
    return exchange(url, { method: "GET", target, headers }, timeoutMs);
  };
  const route: Route = {
    url,
    timeoutMs,
    connect: () => connect(url, timeoutMs),
    executions: async (id) => {
      const answer = await inquire(`executions=${id}`);
      const count = countIn(answer.body.toString());
      check(count !== undefined, `Asked for its executions the route gave ${brief(answer)}.`);
      return count;
    },
    release: async (id) => void (await inquire(`release=${id}`)),
    intent: (tell = {}, ask = {}) => {
      const { id = randomUUID() } = tell;
      const key = randomUUID();
      const keys = [options.quoted ? `"${key}"` : key];
      const whole: Ask = { keys, ...ask, tell: { ...tell, id } };
      return intentOn(route, { id, key, ask: whole, callers: options.callers });
    },
  };
  return route;
}

function countIn(text: string): number | undefined {
  try {
    const value = JSON.parse(text) as { readonly executions?: unknown } | null;
    return typeof value?.executions === "number" ? value.executions : undefined;
  } catch {
    return undefined;
  }
}

interface IntentParts {
  readonly id: string;
  readonly key: string;
  readonly ask: Ask;
  readonly callers: Callers;
}

function intentOn(route: Route, { id, key, ask, callers }: IntentParts): Intent {
  const request = (change: Ask = {}): WireRequest => {
    const tell = { ...ask.tell, ...change.tell };
    return requestOf(route.url, { ...ask, ...change, tell }, callers);
  };
  return {
    id,
    key,
    request,
    at: (other) => intentOn(other, { id, key, ask, callers }),
    send: (change) => exchange(route.url, request(change), route.timeoutMs),
    start: async (holdMs, change = {}) => {
      const tell = { ...change.tell, holdMs };
      const heldId = tell.id ?? id;
      const before = await route.executions(heldId);
      const connection = await route.connect();
      const arriving = connection.send(request({ ...change, tell }));
      const running = follow(route, { connection, arriving, id: heldId });
      while (!running.isOver() && (await route.executions(heldId)) === before) await delay(2);
      return running;
    },
    ran: async (times) => {
      const count = await route.executions(id);
      const sentence = `The handler ran ${timesOf(count)}; expected ${timesOf(times)}.`;
      checkSafe(count <= times, sentence);
      check(count === times, sentence);
    },
  };
}

function timesOf(count: number): string {
  return ["not at all", "once", "twice"][count] ?? `${count} times`;
}

interface Followed {
  readonly connection: Connection;
  readonly arriving: Arriving;
  readonly id: string;
}

function follow(route: Route, { connection, arriving, id }: Followed): Running {
  const state = { isOver: false };
  const whole = arriving.whole.then((answer) => {
    state.isOver = true;
    connection.close();
    return answer;
  });
  return {
    connection,
    arriving,
    isOver: () => state.isOver,
    finish: async () => {
      // Again and again, for a server of several processes, one of which holds the handler; and
      // once at least, for a handler whose client has left.
      do {
        await route.release(id);
        await Promise.race([whole, delay(100)]);
      } while (!state.isOver);
      return whole;
    },
  };
}

const json = "application/json";

function requestOf(url: URL, ask: Ask, callers: Callers): WireRequest {
  const { method = "POST", path = "", query, body = '{"amount":1}', as = "first" } = ask;
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const isBodiless =
    bytes === null || (ask.body === undefined && /^(?:GET|HEAD|OPTIONS)$/.test(method));
  const caller: Pairs = as === "nobody" ? [] : (callers[as] ?? []);
  const framed = ask.headers?.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
  const headers: Pairs = [
    ...caller,
    ...(ask.keys ?? []).map((key) => ["Idempotency-Key", key] as const),
    [instructionHeader, encodeInstruction(instructionOf(ask.tell ?? {}))],
    ...(isBodiless ? [] : [["Content-Type", ask.mediaType ?? json] as const]),
    ...(isBodiless || framed === true ? [] : [["Content-Length", String(bytes.length)] as const]),
    ...(ask.headers ?? []),
  ];
  const target = `${url.pathname.replace(/\/$/, "")}${path}` || "/";
  const search = query === undefined ? "" : `?${query}`;
  return { method, target: target + search, headers, body: isBodiless ? undefined : bytes };
}

function instructionOf({ id = randomUUID(), body, tail, fail, ...rest }: Tell): Instruction {
  return {
    id,
    ...(fail === undefined ? {} : { fail }),
    ...(body === undefined ? {} : { body: base64(body) }),
    ...(tail === undefined ? {} : { tail: base64(tail) }),
    ...rest,
  };
}

function base64(content: string | Uint8Array): string {
  return Buffer.from(content as string).toString("base64");
}
