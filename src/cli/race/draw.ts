/**
 * Draws a race in the terminal: the time line of one round, then what the endpoint did in words.
 * Colours follow NO_COLOR and the stream; what a lane says is decided in lanes.ts.
 */
import { plainText } from "../terminal.ts";
import type { Canvas, Style } from "../terminal.ts";
import type { Check, Outcome, Verdict } from "./judge.ts";
import { lanesOf, readableMs } from "./lanes.ts";
import type { Lane } from "./lanes.ts";
import type { RaceSettings, Round } from "./plan.ts";
import { headlineOf, shownRound, summaryOf, unreachedOf } from "./summary.ts";

const outcomeStyles: Readonly<Record<Outcome, Style>> = {
  executed: "green",
  replayed: "cyan",
  same: "yellow",
  differs: "red",
  refused: "blue",
  failed: "magenta",
};
const verdictStyles: Readonly<Record<Verdict, Style>> = {
  safe: ["bold", "green"],
  unsafe: ["bold", "red"],
  unknown: ["bold", "yellow"],
};
const marks: Readonly<Record<Check["answer"], readonly [string, Style]>> = {
  yes: ["✓", "green"],
  no: ["✗", "red"],
  unknown: ["?", "yellow"],
  skipped: ["-", "dim"],
};

/** The whole report, with a line break at its end. */
export function drawRace(settings: RaceSettings, rounds: readonly Round[], canvas: Canvas): string {
  const round = shownRound(rounds);
  const { paint } = canvas;
  const number = rounds.indexOf(round) + 1;
  const which = rounds.length > 1 ? ` · round ${number} of ${rounds.length}` : "";
  const head = `${settings.method} ${plainText(settings.url.href)}`;
  if (unreachedOf(rounds) !== undefined) {
    return `${paint("bold", head)}\n${drawVerdict(rounds, canvas)}\n`;
  }
  const lines = [
    `${paint("bold", head)}${paint("dim", which)}`,
    paint("dim", `Idempotency-Key: ${round.key}`),
    "",
    ...drawTimeLine(round, canvas),
    "",
    ...round.judgement.checks.map((check) => drawCheck(check, canvas)),
    ...round.judgement.notes.map((note) => paint("dim", `  note: ${note}`)),
    "",
    ...(rounds.length > 1 ? [summaryOf(rounds)] : []),
    drawVerdict(rounds, canvas),
  ];
  return `${lines.join("\n")}\n`;
}

function drawVerdict(rounds: readonly Round[], { paint }: Canvas): string {
  const { verdict, headline } = headlineOf(rounds);
  return paint(verdictStyles[verdict], plainText(headline));
}

function drawCheck({ question, answer, sentence }: Check, { paint }: Canvas): string {
  const [mark, style] = marks[answer];
  return `  ${paint(style, mark)} ${question.padEnd(31)} ${plainText(sentence)}`;
}

function drawTimeLine(round: Round, canvas: Canvas): readonly string[] {
  const groups = lanesOf(round);
  const lanes = groups.flatMap((group) => group.lanes);
  const endMs = Math.max(1, ...lanes.map((lane) => lane.endMs));
  // What stands beside the bar takes up to 46 columns; a narrow terminal keeps a short bar.
  const width = Math.max(10, Math.min(60, canvas.columns - 56));
  const scale = { endMs, width };
  const axis = `${" ".repeat(8)}0${readableMs(endMs).padStart(width - 1)}`;
  return [
    canvas.paint("dim", axis),
    ...groups.flatMap((group) =>
      [`  ${group.title}`].concat(group.lanes.map((lane) => drawLane(lane, scale, canvas))),
    ),
  ];
}

function drawLane(
  lane: Lane,
  { endMs, width }: { readonly endMs: number; readonly width: number },
  { paint }: Canvas,
): string {
  const from = Math.min(width - 1, Math.floor((lane.startMs / endMs) * width));
  const to = Math.max(from + 1, Math.ceil((lane.endMs / endMs) * width));
  const bar = "█".repeat(to - from);
  const count = lane.count > 1 ? `${lane.count}×` : "";
  const style = outcomeStyles[lane.outcome];
  const took = readableMs(lane.endMs - lane.startMs).padStart(8);
  const line = `${" ".repeat(from)}${paint(style, bar)}${" ".repeat(width - to)}`;
  const words = paint(style, plainText(lane.words));
  return `  ${count.padStart(5)} ${line} ${lane.status} ${took}  ${words}`;
}
