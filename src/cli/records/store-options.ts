/** What the operators' commands share: which store, which record, and an engine over it. */
import { existsSync } from "node:fs";
import { Command } from "commander";
import { createEngine } from "../../engine/engine.ts";
import type { Engine } from "../../engine/engine.ts";
import type { FoundRecord, Target } from "../../engine/operators/operator.ts";
import { storeFromUrl } from "../../stores/store-from-url.ts";
import type { Store } from "../../stores/store.ts";
import { atRest } from "./at-rest.ts";

/** The options of every command here, as typed. */
export interface StoreOptions {
  readonly store?: string;
  readonly json?: true;
}
export interface TargetOptions {
  readonly operation?: string;
  readonly scope?: string;
  readonly key?: string;
}
export interface PageOptions {
  readonly limit: string;
  readonly after?: string;
}

/** A subcommand that knows its store. */
export function storeCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option("--store <url>", "the store (default: LATCHKEY_STORE)")
    .option("--json", "print JSON");
}

/** A subcommand on one record: by its id, or by what it belongs to. */
export function targetCommand(name: string, description: string): Command {
  return storeCommand(name, description)
    .argument("[id]", "the record's id, as listings have it")
    .option("--operation <name>", "instead of an id: method and route, or a function's operation")
    .option("--scope <scope>", "with --operation: whose key it is (default: public)")
    .option("--key <key>", "with --operation: the idempotency key");
}

/** The store and an engine over it, for as long as `work` takes. */
export async function withStore<T>(
  { store: url = process.env["LATCHKEY_STORE"] ?? "" }: StoreOptions,
  work: (store: Store, engine: Engine) => Promise<T>,
): Promise<T> {
  checkUrl(url);
  const given = atRest(process.env);
  const store = await storeFromUrl(url, { migrate: false });
  try {
    const engine = createEngine({ ...given, store, storeTimeout: "5s" });
    const value = await work(store, engine);
    await engine.close();
    return value;
  } finally {
    await store.close();
  }
}

// A mistyped path must not look like a store without records.
function checkUrl(url: string): void {
  if (url === "") {
    throw new TypeError("Which store? Give --store sqlite:./data/latchkey.db, or LATCHKEY_STORE.");
  }
  if (url === "memory:") throw new TypeError("A memory store is gone when its process has ended.");
  const path = /^sqlite:(.+)$/.exec(url)?.[1];
  if (path !== undefined && !existsSync(path)) {
    throw new TypeError(`There is no SQLite store at ${path}.`);
  }
}

/** Which record is meant; throws `TypeError` unless exactly one is. */
export function targetOf(id: string | undefined, options: TargetOptions): Target {
  const { operation, scope, key } = options;
  const others = [operation, scope, key].filter((one) => one !== undefined);
  if (id !== undefined && others.length === 0) return id;
  if (id === undefined && operation !== undefined && key !== undefined) {
    return { operation, key, ...(scope === undefined ? {} : { scope }) };
  }
  throw new TypeError("Which record? Give its id, or --operation, --scope and --key instead.");
}

/** The record, or an error in one line. */
export async function foundBy(engine: Engine, target: Target): Promise<FoundRecord> {
  const found = await engine.find(target);
  if (found !== undefined) return found;
  throw new Error("There is no such record. It was never claimed, or its retention is over.");
}

/** The page size as typed. */
export function limitOf({ limit }: PageOptions): number {
  const number = /^\d{1,4}$/.test(limit) ? Number(limit) : Number.NaN;
  if (number >= 1 && number <= 1000) return number;
  throw new TypeError(`--limit must be a number from 1 to 1000; got ${JSON.stringify(limit)}.`);
}

const withoutValue = /^--(?:json|result|yes|not-executed|completed|failed)$/;

/**
 * The arguments with a record id that begins with a dash (one in 64 does) behind `--`, where it is
 * no option.
 */
export function withIdsApart(args: readonly string[]): readonly string[] {
  const index = args.findIndex((one, at) => {
    const before = args[at - 1] ?? "";
    return /^-[\w-]{42}$/.test(one) && (!before.startsWith("-") || withoutValue.test(before));
  });
  if (index < 0 || args.includes("--")) return args;
  return [...args.slice(0, index), ...args.slice(index + 1), "--", ...args.slice(index, index + 1)];
}
