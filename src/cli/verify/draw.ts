/** Draws results in the terminal: by section, a line a rule, and the reason where one is needed. */
import type { Rule, RuleResult } from "../../conformance/http/rule.ts";
import type { Placed } from "../../conformance/http/verify.ts";
import { plainText } from "../terminal.ts";
import type { Canvas, Style } from "../terminal.ts";
import { headlineOf, sectionsOf, summaryOf, verdictOf } from "./summary.ts";
import type { SectionResults, Verdict } from "./summary.ts";

const marks: Readonly<Record<RuleResult["outcome"], readonly [string, Style]>> = {
  held: ["✓", "green"],
  broken: ["✗", "red"],
  skipped: ["–", "dim"],
  elsewhere: ["–", "dim"],
};
const verdictStyles: Readonly<Record<Verdict, Style>> = {
  held: ["bold", "green"],
  broken: ["bold", "yellow"],
  unsafe: ["bold", "red"],
  unknown: ["bold", "yellow"],
};
/** Where titles and reasons begin. */
const indent = 10;

/** The whole report, with a line break at its end. */
export function drawResults(url: URL, results: readonly RuleResult[], canvas: Canvas): string {
  const { paint } = canvas;
  const lines = [
    paint("bold", plainText(url.href)),
    ...sectionsOf(results).flatMap((section) => drawSection(section, canvas)),
    "",
    summaryOf(results),
    paint(verdictStyles[verdictOf(results)], headlineOf(results)),
  ];
  return `${lines.join("\n")}\n`;
}

function drawSection([title, results]: SectionResults, canvas: Canvas): readonly string[] {
  const unseen = results.filter(({ mountedOnly }) => mountedOnly === true);
  const seen = results.filter((result) => !unseen.includes(result));
  const lines = seen.flatMap((result) => drawResult(result, canvas));
  return ["", canvas.paint("bold", title)].concat(lines, drawUnseen(unseen, canvas));
}

/** Rules that no URL shows, in one paragraph: their reasons are in --list. */
function drawUnseen(results: readonly RuleResult[], canvas: Canvas): readonly string[] {
  if (results.length === 0) return [];
  const numbers = results.map(({ rule }) => rule).join(", ");
  const what =
    results.length === 1 ? "needs a route mounted for it" : "need a route mounted for them";
  const lines = wrap(`${numbers} ${what}`, Math.max(40, canvas.columns) - 4);
  return lines.map((line, index) => canvas.paint("dim", `  ${index === 0 ? "–" : " "} ${line}`));
}

function drawResult(result: RuleResult, { paint, columns }: Canvas): readonly string[] {
  const { rule, title, outcome, reason, unsafe } = result;
  const [mark, style] = marks[outcome];
  const isSkipped = outcome === "skipped";
  const words = isSkipped ? paint("dim", title) : title;
  const head = `  ${paint(style, mark)} ${rule.padEnd(6)}${words}`;
  if (reason === undefined) return [head];
  const said = unsafe === true ? `UNSAFE: ${plainText(reason)}` : plainText(reason);
  const painted = wrap(said, Math.max(40, columns) - indent).map(
    (line) => " ".repeat(indent) + paint(isSkipped ? "dim" : "red", line),
  );
  return [head, ...painted];
}

/** Words in lines of at most `width` columns. */
function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length >= width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** Every rule with what it needs, for `--list`. */
export function drawRules(rules: readonly Placed[], { paint }: Canvas): string {
  const sections = Map.groupBy(rules, ({ section }) => section.title);
  const lineOf = ({ rule }: Placed): string =>
    `  ${rule.rule.padEnd(6)}${rule.title}${needsOf(rule, paint)}\n`;
  return [...sections]
    .map(([title, placed]) => `${paint("bold", title)}\n${placed.map(lineOf).join("")}`)
    .join("\n");
}

function needsOf(rule: Rule, paint: Canvas["paint"]): string {
  if (rule.kind === "elsewhere") return paint("dim", ` · ${rule.why}`);
  return rule.test === undefined ? paint("dim", ` · needs ${rule.mounted?.needs}`) : "";
}
