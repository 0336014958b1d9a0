/** `latchkey attention`: all that somebody must look at, and taking it off the list. */
import type { Command } from "commander";
import type { RecordId } from "../../machine/record.ts";
import { canvasOf } from "../terminal.ts";
import { drawNotes, drawRecords } from "./draw.ts";
import { jsonOf, write, writeJson } from "./output.ts";
import { notesOf, recordsOf } from "./pages.ts";
import { limitOf, storeCommand, withStore } from "./store-options.ts";
import type { PageOptions, StoreOptions } from "./store-options.ts";

type AttentionOptions = StoreOptions & PageOptions;

/** The subcommand. */
export function attentionCommand(): Command {
  return storeCommand("attention", "List what somebody must look at: records in doubt, and notes.")
    .option("--limit <count>", "most records, and most notes", "100")
    .option("--after <cursor>", "notes behind an earlier list")
    .action(runAttention)
    .addCommand(dismissCommand());
}

async function runAttention(options: AttentionOptions): Promise<void> {
  const limit = limitOf(options);
  const isFirst = options.after === undefined; // later pages are notes alone
  const { doubts, notes, next } = await withStore(options, async (store) => ({
    doubts: isFirst ? (await recordsOf(store, { limit, state: "in-doubt" })).rows : [],
    ...(await notesOf(store, { limit, after: options.after })),
  }));
  if (options.json === true) {
    const inDoubt = doubts.flatMap(({ id, record }) =>
      record === undefined ? [] : [jsonOf({ id, record })],
    );
    return writeJson({ inDoubt, notes, ...(next === undefined ? {} : { next }) });
  }
  const canvas = canvasOf(process.stdout, Infinity);
  if (doubts.length > 0) {
    write(`${canvas.paint("bold", "Executed or not? Resolve each:")}\n`);
    write(`${drawRecords(doubts, canvas)}\n`);
  }
  if (notes.length > 0) {
    write(`${canvas.paint("bold", "Look into each, then dismiss it:")}\n`);
    write(drawNotes(notes, canvas));
  }
  if (next !== undefined) write(`${canvas.paint("dim", `More: --after '${next}'`)}\n`);
  if (doubts.length + notes.length === 0) write("Nothing needs attention.\n");
}

function dismissCommand(): Command {
  return storeCommand("dismiss", "Take the notes on one record off the list.")
    .argument("<id>", "the record's id")
    .action(async (id: string, _: unknown, command: Command) => {
      const options = command.optsWithGlobals<StoreOptions>(); // the parent takes what both know
      const count = await withStore(options, (store) => store.dismiss(id as RecordId));
      if (count === 0) throw new Error("There are no notes on this record.");
      if (options.json === true) return writeJson({ id, dismissed: count });
      write(`${count} ${count === 1 ? "note" : "notes"} dismissed.\n`);
    });
}
