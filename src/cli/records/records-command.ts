/** `latchkey records`: list, show, resolve, forget and sweep the records of a store. */
import { createInterface } from "node:readline/promises";
import { Command } from "commander";
import { isLatchkeyError } from "../../errors.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Target } from "../../engine/operators/operator.ts";
import type { RecordId, StoredRecord } from "../../machine/record.ts";
import { canvasOf, plainText } from "../terminal.ts";
import { drawCard, drawRecords } from "./draw.ts";
import type { Row } from "./pages.ts";
import { jsonOf, write, writeJson } from "./output.ts";
import { recordsOf } from "./pages.ts";
import { resolveCommand } from "./resolve-command.ts";
import { resultText, shownResult } from "./result.ts";
import {
  foundBy,
  limitOf,
  storeCommand,
  targetCommand,
  targetOf,
  withStore,
} from "./store-options.ts";
import type { PageOptions, StoreOptions, TargetOptions } from "./store-options.ts";

const states = ["in-progress", "completed", "released", "in-doubt"] as const;

/** The subcommand. Exit code 1 where there is no such record, 2 for a mistake. */
export function recordsCommand(): Command {
  return new Command("records")
    .description("Look at the records of a store, and settle those in doubt.")
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(resolveCommand())
    .addCommand(forgetCommand())
    .addCommand(sweepCommand());
}

interface ListOptions extends StoreOptions, PageOptions {
  readonly state?: string;
}

function listCommand(): Command {
  return storeCommand("list", "List records, all or those of one state.")
    .option("--state <state>", states.join(", "))
    .option("--limit <count>", "most records", "100")
    .option("--after <cursor>", "goes on behind an earlier list")
    .action(async (options: ListOptions) => {
      const state = stateOf(options.state);
      const limit = limitOf(options);
      const { rows, next } = await withStore(options, (store) =>
        recordsOf(store, { limit, state, after: options.after }),
      );
      if (options.json === true) return writeJson(listingOf(rows, next));
      const none = state === undefined ? "No records." : `No records are ${state}.`;
      write(rows.length === 0 ? `${none}\n` : drawRecords(rows, canvas()));
      if (next !== undefined) write(canvas().paint("dim", `More: --after ${next}`) + "\n");
    });
}

function stateOf(text: string | undefined): StoredRecord["state"] | undefined {
  const state = states.find((one) => one === text);
  if (text === undefined || state !== undefined) return state;
  throw new TypeError(`--state must be ${states.join(", ")}; got ${JSON.stringify(text)}.`);
}

function listingOf(rows: readonly Row[], next: string | undefined): object {
  const records = rows.flatMap(({ id, record }) =>
    record === undefined ? [] : [jsonOf({ id, record })],
  );
  const unreadable = rows.filter(({ record }) => record === undefined).map(({ id }) => id);
  return { records, unreadable, ...(next === undefined ? {} : { next }) };
}

function showCommand(): Command {
  return targetCommand("show", "Show one record.")
    .option("--result", "show its result, too: bodies may be confidential")
    .action(async (id: string | undefined, options: ShowOptions) => {
      const target = targetOf(id, options);
      const found = await withStore(options, (_, engine) => foundBy(engine, target));
      const { record } = found;
      const result = options.result && record.state === "completed" ? record.result : undefined;
      if (options.json === true) {
        return writeJson({
          ...jsonOf(found),
          ...(result === undefined ? {} : { result: shownResult(result) }),
        });
      }
      write(drawCard(found, canvas()));
      if (result !== undefined) write(`\n${resultText(result)}`);
    });
}

interface ShowOptions extends StoreOptions, TargetOptions {
  readonly result?: true;
}

interface ForgetOptions extends StoreOptions, TargetOptions {
  readonly yes?: true;
}

function forgetCommand(): Command {
  return targetCommand(
    "forget",
    "Delete one record whatever its state: the next request with its key executes.",
  )
    .option("--yes", "do not ask")
    .action(async (id: string | undefined, options: ForgetOptions) => {
      const target = targetOf(id, options);
      await withStore(options, async (store, engine) => {
        const named = await nameOf(engine, target);
        if (options.yes !== true) await confirm(named.words);
        if (!(await store.forget(named.id))) throw new Error("There is no such record any more.");
        if (options.json === true) return writeJson({ id: named.id, reply: "forgotten" });
        return write("Forgotten: the next request with this key executes.\n");
      });
    });
}

/** The record's id and what is about to be forgotten. What cannot be read can be forgotten. */
async function nameOf(
  engine: Engine,
  target: Target,
): Promise<{ readonly id: RecordId; readonly words: string }> {
  try {
    const { id, record } = await foundBy(engine, target);
    return { id, words: `This record of ${plainText(record.operation)} is ${record.state}.` };
  } catch (error) {
    const isCorrupt = isLatchkeyError(error) && error.code === "store-corrupt";
    if (!isCorrupt || typeof target !== "string") throw error;
    return { id: target as RecordId, words: "This record cannot be read." };
  }
}

async function confirm(words: string): Promise<void> {
  const warning = "Once it is forgotten, the next request with its key executes.";
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new TypeError(`${words} ${warning} Say --yes to forget it.`);
  }
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await prompt.question(`${words} ${warning}\nForget it? [y/N] `);
  prompt.close();
  if (!/^y(?:es)?$/i.test(answer.trim())) throw new Error("Nothing was forgotten.");
}

function sweepCommand(): Command {
  return storeCommand("sweep", "Delete the records and notes whose time is over.").action(
    async (options: StoreOptions) => {
      const swept = await withStore(options, async (store) => {
        let total = 0;
        for (;;) {
          const batch = await store.sweep(1000);
          total += batch;
          if (batch < 1000) return total;
        }
      });
      if (options.json === true) return writeJson({ swept });
      write(`${swept} ${swept === 1 ? "record" : "records"} swept.\n`);
    },
  );
}

function canvas(): ReturnType<typeof canvasOf> {
  return canvasOf(process.stdout, Infinity); // in a file nothing is cut off
}
