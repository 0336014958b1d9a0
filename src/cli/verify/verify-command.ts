/**
 * `latchkey verify URL`: reads the options, tries the rules that a URL shows, prints the report,
 * sets the exit code.
 */
import { Command } from "commander";
import type { RuleResult } from "../../conformance/http/rule.ts";
import { NotATestRoute } from "../../conformance/http/probe.ts";
import { urlSubject } from "../../conformance/http/subject.ts";
import { rulesOf, verifyRules } from "../../conformance/http/verify.ts";
import { append } from "../address.ts";
import { createProgress } from "../progress.ts";
import { canvasOf } from "../terminal.ts";
import { writePage } from "../web-page.ts";
import { drawResults, drawRules } from "./draw.ts";
import { verifyHtml } from "./html.ts";
import { countsOf, headlineOf, verdictOf } from "./summary.ts";
import type { Verdict } from "./summary.ts";
import { verifySettingsOf } from "./verify-settings.ts";
import type { VerifyOptions, VerifySettings } from "./verify-settings.ts";

const exitCodes: Readonly<Record<Verdict, number>> = { held: 0, broken: 1, unsafe: 1, unknown: 2 };

interface Output {
  readonly json?: true;
  readonly html?: string;
  readonly list?: true;
}

/** The subcommand. Exit code 0 when all held, 1 when a rule is broken, 2 when nothing was tried. */
export function verifyCommand(): Command {
  return new Command("verify")
    .description(
      "Try the rules of idempotency over HTTP on a test route of any server in any language.\n" +
        "Exit code 0: all held, 1: a rule is broken, 2: nothing was tried. See docs/verify.md.",
    )
    .argument("[url]", "the test route, http:// or https://")
    .option("--as <header>", "header 'Name: value' of a caller; twice for two callers", append)
    .option("--rotated <header>", "another credential of the first caller")
    .option("--revoked <header>", "a credential that the server refuses")
    .option("--only <rules>", "only these rules, e.g. B-26,B-43")
    .option("--timeout <duration>", "how long one answer may take", "15s")
    .option("--within <duration>", "how long all rules together may take", "10m")
    .option("--allow-remote", "also try a server that is not this machine")
    .option("--list", "list the rules, and send nothing")
    .option("--json", "print the result as JSON")
    .option("--html <file>", "write the report as a web page")
    .action(runVerify);
}

async function runVerify(url: string | undefined, options: VerifyOptions & Output): Promise<void> {
  if (options.list === true) {
    process.stdout.write(drawRules(rulesOf(), canvasOf(process.stdout)));
    return;
  }
  if (url === undefined) throw new TypeError("Name the URL of a test route, or ask for --list.");
  const settings = verifySettingsOf(url, options);
  const results = await resultsOf(settings);
  process.exitCode = exitCodes[verdictOf(results)];
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(reportOf(settings, results), undefined, 2)}\n`
      : drawResults(settings.url, results, canvasOf(process.stdout)),
  );
  if (options.html !== undefined) writePage(options.html, verifyHtml(settings.url, results));
}

async function resultsOf(settings: VerifySettings): Promise<readonly RuleResult[]> {
  const { url, callers, rules, timeoutMs, withinMs } = settings;
  const progress = createProgress(process.stderr);
  progress.report({ done: 0, of: rules.length, words: "looking at the test route" });
  try {
    return await verifyRules(urlSubject(url, { callers, timeoutMs }), rules, {
      withinMs,
      onRule: ({ rule: { rule, title } }, done) => {
        progress.report({ done, of: rules.length, words: `${rule} ${title}` });
      },
    });
  } catch (error) {
    if (error instanceof NotATestRoute) throw new TypeError(error.message, { cause: error });
    throw error;
  } finally {
    progress.end();
  }
}

function reportOf({ url }: VerifySettings, results: readonly RuleResult[]): object {
  const verdict = verdictOf(results);
  return { verdict, headline: headlineOf(results), url: url.href, ...countsOf(results), results };
}
