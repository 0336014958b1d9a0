/**
 * `latchkey race URL`: reads the options, runs the rounds, prints the report, sets the exit code.
 */
import { Command } from "commander";
import { append } from "../address.ts";
import { createProgress } from "../progress.ts";
import { canvasOf } from "../terminal.ts";
import { drawRace } from "./draw.ts";
import { writePage } from "../web-page.ts";
import { raceHtml } from "./html.ts";
import type { Verdict } from "./judge.ts";
import { race } from "./plan.ts";
import type { RaceSettings, Round } from "./plan.ts";
import { raceSettingsOf } from "./race-settings.ts";
import type { RaceOptions } from "./race-settings.ts";
import { headlineOf, verdictOf } from "./summary.ts";

const exitCodes: Readonly<Record<Verdict, number>> = { safe: 0, unsafe: 1, unknown: 2 };

interface Output {
  readonly json?: true;
  readonly html?: string;
}

/** The subcommand. Exit code 0 when safe, 1 when unsafe, 2 when it could not tell. */
export function raceCommand(): Command {
  return new Command("race")
    .description(
      "Send identical requests at once and judge whether one key means one execution.\n" +
        "Exit code 0: safe, 1: unsafe, 2: could not tell. It really executes: use a test system.",
    )
    .argument("<url>", "the endpoint, http:// or https://")
    .option("-n <count>", "how many requests are sent together", "2")
    .option("--method <method>", "request method", "POST")
    .option("--data <body>", "request body")
    .option("--other-data <body>", "body of the request that must be refused (default: derived)")
    .option("--header <line>", "request header 'Name: value', repeatable", append)
    .option("--key <key>", "idempotency key (default: a fresh one)")
    .option("--rounds <count>", "how often all of it is repeated", "1")
    .option("--timeout <duration>", "how long one answer may take", "30s")
    .option("--json", "print the result as JSON")
    .option("--html <file>", "write the time line as a web page")
    .action(runRace);
}

async function runRace(address: string, options: RaceOptions & Output): Promise<void> {
  const settings = raceSettingsOf(address, options);
  const progress = createProgress(process.stderr);
  const rounds = await race(settings, ({ round, phase, answered, of }) => {
    const which = settings.rounds > 1 ? `round ${round}/${settings.rounds} · ` : "";
    const words = `${which}${phase.replace("-", " ")} · ${answered} of ${of} answered`;
    progress.report({ done: answered, of, words });
  });
  progress.end();
  process.exitCode = exitCodes[verdictOf(rounds)];
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(reportOf(settings, rounds), undefined, 2)}\n`
      : drawRace(settings, rounds, canvasOf(process.stdout)),
  );
  if (options.html !== undefined) writePage(options.html, raceHtml(settings, rounds));
}

function reportOf(settings: RaceSettings, rounds: readonly Round[]): object {
  const { method, url, count } = settings;
  return {
    ...headlineOf(rounds),
    method,
    url: url.href,
    count,
    rounds: rounds.map(({ key, observations, judgement }) => {
      const { outcomes, ...rest } = judgement;
      const requests = observations.map((one, index) => ({ ...one, outcome: outcomes[index] }));
      return { key, ...rest, requests };
    }),
  };
}
