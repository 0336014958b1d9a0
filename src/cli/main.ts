/**
 * The command line: one program, one subcommand a folder. A user's mistake is one line and exit
 * code 2.
 */
import { Command, CommanderError } from "commander";
import { demoCommand } from "./demo/demo-command.ts";

const program = new Command("latchkey")
  .description("Operations that must not happen twice, made safe to retry.")
  .exitOverride()
  .addCommand(demoCommand());

for (const command of program.commands) command.exitOverride();
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  // Commander has said why itself.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`latchkey: ${message}\n`);
  return error instanceof TypeError ? 2 : 1;
}
