/**
 * The command line: one program, one subcommand a folder. A user's mistake is one line and exit
 * code 2.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { demoCommand } from "./demo/demo-command.ts";
import { raceCommand } from "./race/race-command.ts";
import { attentionCommand } from "./records/attention-command.ts";
import { recordsCommand } from "./records/records-command.ts";
import { withIdsApart } from "./records/store-options.ts";
import { schemaCommand } from "./schema/schema-command.ts";
import { mayGoUnread } from "./terminal.ts";
import { verifyCommand } from "./verify/verify-command.ts";

/** Runs one command line, `process.argv` as it stands; sets the exit code. Never rejects. */
export async function main(args: readonly string[]): Promise<void> {
  const program = new Command("latchkey")
    .description("Operations that must not happen twice, made safe to retry.")
    .version(version())
    .addCommand(demoCommand())
    .addCommand(raceCommand())
    .addCommand(verifyCommand())
    .addCommand(recordsCommand())
    .addCommand(attentionCommand())
    .addCommand(schemaCommand())
    .addHelpText("after", examples);
  inOneLine(program);
  mayGoUnread(process.stdout);
  try {
    await program.parseAsync(withIdsApart(args));
  } catch (error) {
    process.exitCode = exitCodeOf(error);
  }
}

const examples = `
Try it:
  latchkey demo
  latchkey race http://127.0.0.1:3000/process-payment
  latchkey attention --store sqlite:./data/latchkey.db`;

// A mistake is one line, like our own, with a suggestion or the way to the help in it.
function inOneLine(command: Command, path = command.name()): void {
  command.exitOverride().configureOutput({
    outputError: (text, write) => write(oneLine(text, `See ${path} --help.`)),
  });
  for (const inner of command.commands) inOneLine(inner, `${path} ${inner.name()}`);
}

function oneLine(text: string, way: string): string {
  const [what = "", suggestion] = text.trim().split("\n");
  const words = what.replace(/^error: /, "").replace(/\.?$/, ".");
  return `latchkey: ${words} ${suggestion?.replace(/^\((.*)\)$/, "$1") ?? way}\n`;
}

function version(): string {
  // The same distance from src/ and from dist/.
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

function exitCodeOf(error: unknown): number {
  // Commander has said why itself.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`latchkey: ${message}\n`);
  return error instanceof TypeError ? 2 : 1;
}
