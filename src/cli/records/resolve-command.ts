/** `latchkey records resolve`: an operator's word on a record in doubt, read from the options. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { Engine } from "../../engine/engine.ts";
import type { FoundRecord } from "../../engine/operators/operator.ts";
import type { Word } from "../../engine/operators/word.ts";
import { resolveWithResponse } from "../../http/operators/resolve-with-response.ts";
import type { ResponseWord } from "../../http/operators/resolve-with-response.ts";
import { append } from "../address.ts";
import { demandKeys } from "./at-rest.ts";
import { write, writeJson } from "./output.ts";
import { foundBy, targetCommand, targetOf, withStore } from "./store-options.ts";
import type { StoreOptions, TargetOptions } from "./store-options.ts";

interface Said {
  readonly notExecuted?: true;
  readonly completed?: true;
  readonly failed?: true;
  readonly status?: string;
  readonly header?: readonly string[];
  readonly body?: string;
  readonly bodyFile?: string;
  readonly value?: string;
  readonly by?: string;
  readonly note?: string;
  readonly retention?: string;
  readonly attempt?: string;
}
type ResolveOptions = StoreOptions & TargetOptions & Said;

/** The subcommand. Exit code 1 where the record is not in doubt, 2 for a mistake. */
export function resolveCommand(): Command {
  return targetCommand("resolve", "Say what became of a record in doubt, for good.")
    .option("--not-executed", "nothing happened: a retry executes")
    .option("--completed", "it was executed: retries get --status … or --value, or are told so")
    .option("--failed", "it failed for good: retries are refused, with --status … if given")
    .option("--status <code>", "for a route: the status that retries get")
    .option("--header <line>", "with --status: 'Name: value', repeatable", append)
    .option("--body <text>", "with --status: the body")
    .option("--body-file <file>", "with --status: the body, from a file")
    .option("--value <json>", "for a function: the value that retries get")
    .option("--by <name>", "who says so")
    .option("--note <text>", "how it was found out")
    .option("--retention <duration>", "how long retries get it", "24h")
    .option("--attempt <number>", "the attempt that was looked into: no other one is resolved")
    .action(runResolve);
}

async function runResolve(id: string | undefined, options: ResolveOptions): Promise<void> {
  const target = targetOf(id, options);
  const say = sayingOf(options);
  await withStore(options, async (store, engine) => {
    if (options.notExecuted !== true) await demandKeys(store, engine);
    const found = await foundBy(engine, target);
    if ((await say(engine, found)) === "not-in-doubt") {
      throw new Error(await whyNot(engine, found, options.attempt));
    }
    const outcome = outcomeOf(options);
    if (options.json === true) return writeJson({ id: found.id, reply: "resolved", outcome });
    return write(`Resolved as ${outcome}: ${consequenceOf(options)}\n`);
  });
}

async function whyNot(
  engine: Engine,
  { id, record }: FoundRecord,
  attempt: string | undefined,
): Promise<string> {
  const now = (await engine.find(id))?.record ?? record;
  if (attempt !== undefined && now.attempt !== Number(attempt)) {
    return `The record is at attempt ${now.attempt}, not ${attempt}. Look into that one.`;
  }
  return `This record is not in doubt: it is ${now.state}. Nothing was changed.`;
}

type Saying = (engine: Engine, found: FoundRecord) => ReturnType<Engine["resolve"]>;

/** What was typed, as a call of the engine; throws `TypeError` before any store is opened. */
function sayingOf(options: ResolveOptions): Saying {
  const outcome = outcomeOf(options);
  const { by, note, attempt, retention, value } = options;
  if (by === undefined || note === undefined) {
    throw new TypeError("Say who you are and how you found out: --by NAME --note TEXT.");
  }
  const signed = { by, note, ...(attempt === undefined ? {} : { attempt: Number(attempt) }) };
  const response = responseOf(options);
  const hasResponse = Object.keys(response).length > 0;
  if (hasResponse && value !== undefined) {
    throw new TypeError("A route has --status, --header and --body; a function has --value.");
  }
  if (outcome === "not-executed") {
    if (!hasResponse && value === undefined) return plain({ outcome, ...signed });
    throw new TypeError("What was not executed has no --status, --header, --body or --value.");
  }
  if (hasResponse && outcome === "completed" && response.status === undefined) {
    throw new TypeError("A response needs its --status.");
  }
  const kept = { ...signed, ...(retention === undefined ? {} : { retention }) };
  if (hasResponse) {
    const word: ResponseWord = { outcome, ...kept, ...response };
    return (engine, { id }) => resolveWithResponse(engine, id, word);
  }
  if (value === undefined) return plain({ outcome, ...kept });
  if (outcome === "failed") throw new TypeError("What failed has no --value.");
  return plain({ outcome, ...kept, value: parsed(value) });
}

function plain(word: Word): Saying {
  return (engine, { id }) => engine.resolve(id, word);
}

function outcomeOf({ notExecuted, completed, failed }: Said): Word["outcome"] {
  const said = [
    ...(notExecuted === true ? (["not-executed"] as const) : []),
    ...(completed === true ? (["completed"] as const) : []),
    ...(failed === true ? (["failed"] as const) : []),
  ];
  const [outcome] = said;
  if (outcome !== undefined && said.length === 1) return outcome;
  throw new TypeError("Say what became of it: one of --not-executed, --completed, --failed.");
}

function responseOf(options: Said): Pick<ResponseWord, "status" | "headers" | "body"> {
  const { status, header = [], body, bodyFile } = options;
  if (body !== undefined && bodyFile !== undefined) {
    throw new TypeError("The body comes from --body or from --body-file, not from both.");
  }
  if (status !== undefined && !/^[1-5]\d\d$/.test(status)) {
    throw new TypeError(`--status must be an HTTP status; got ${JSON.stringify(status)}.`);
  }
  const content = bodyFile === undefined ? body : contentOf(bodyFile);
  return {
    ...(status === undefined ? {} : { status: Number(status) }),
    ...(header.length === 0 ? {} : { headers: header.map(lineOf) }),
    ...(content === undefined ? {} : { body: content }),
  };
}

function lineOf(line: string): readonly [string, string] {
  const colon = line.indexOf(":");
  if (colon < 1) throw new TypeError("--header must be 'Name: value'.");
  return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
}

function contentOf(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TypeError(`--body-file cannot be read: ${reason}.`, { cause });
  }
}

function parsed(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch (cause) {
    throw new TypeError("--value must be JSON.", { cause });
  }
}

function consequenceOf(options: Said): string {
  if (options.notExecuted === true) return "the next retry executes.";
  if (options.status !== undefined) return `retries get status ${options.status}.`;
  if (options.failed === true) return "retries are refused as failed.";
  if (options.value !== undefined) return "retries get this value.";
  return "retries are told that it is done, and that its result is not known.";
}
