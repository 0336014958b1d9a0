/**
 * What is measured: a server with a test route. One that can be mounted with given options, engine
 * and store faults shows every rule; one that is only a URL shows what its defaults show.
 */
import type { EngineOptions } from "../../engine/engine.ts";
import type { HttpOptions } from "../../http/policy.ts";
import type { Store } from "../../stores/store.ts";
import type { Clock } from "../histories.ts";
import type { Pairs } from "./instruction.ts";

/** Headers that name callers, as the server's authentication knows them. */
export interface Callers {
  /** The caller of every request. Default: no header. */
  readonly first: Pairs;
  /** Another caller, whose keys are other keys (B-100). */
  readonly other?: Pairs;
  /** The first caller with a newer credential (B-102). */
  readonly rotated?: Pairs;
  /** A credential that the server refuses (B-39). */
  readonly revoked?: Pairs;
}

/** How a rule wants the test route mounted; everything left out is the default. */
export interface Setup {
  /** Options of the route. An explicit `scope: undefined` must be handed on (B-101). */
  readonly options?: Partial<Omit<HttpOptions<never>, "scope" | "key">> & {
    readonly scope?: undefined;
  };
  readonly engine?: Partial<Omit<EngineOptions, "store" | "runtime">>;
  /** Stands between the engine and the subject's store: faults, counts. */
  readonly store?: (sound: Store) => Store;
}

/** A test route that is being served. */
export interface Served {
  /** The route's address; paths below it are served too, all of them as one route of their own. */
  readonly url: string;
  /** The clock of the store; only mounted routes have one. */
  readonly clock?: Clock;
  /**
   * Another server with an engine of its own on the same store and the same books, as a second
   * process would be; only mounted routes have one.
   */
  readonly beside?: (setup: Setup) => Promise<Served>;
  readonly close: () => Promise<void>;
}

/** What a test route may be unable to do. */
export type Feature =
  | "bodiless"
  | "bytes"
  | "cors"
  | "cuts"
  | "echoes"
  | "hints"
  | "holds"
  | "lines"
  | "repeats"
  | "streams"
  | "throws"
  | "timeouts"
  | "trailers";

export interface HttpSubject {
  /** For titles and tables: `"Express 5"`, `"http://127.0.0.1:3000/verify"`. */
  readonly name: string;
  /** Serves the test route; a mere URL ignores the setup. */
  readonly serve: (setup: Setup) => Promise<Served>;
  /** Whether `serve` follows its setup; otherwise rules that need one are skipped. */
  readonly mountable: boolean;
  readonly callers: Callers;
  /** What it cannot do, each with its reason: rules that need it are skipped. */
  readonly lacks?: Partial<Readonly<Record<Feature, string>>>;
  /** Names of the framework's ways to answer, for `via` (B-78). */
  readonly ways?: readonly string[];
  /** How long one exchange may take, in ms. Default 15 000. */
  readonly timeoutMs?: number;
}

/** A subject that is only a URL: its defaults are measured, as they are. */
export function urlSubject(
  url: URL,
  options: { readonly callers?: Callers; readonly timeoutMs?: number } = {},
): HttpSubject {
  const { callers = { first: [] }, ...rest } = options;
  const served: Served = { url: url.href, close: () => Promise.resolve() };
  return {
    name: url.href,
    mountable: false,
    callers,
    serve: () => Promise.resolve(served),
    lacks: { timeouts: "It cannot be told to answer before its handler has ended." },
    ...rest,
  };
}
