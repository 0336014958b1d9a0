/**
 * Draws records and notes in the terminal: tables and the card of one record. No key, owner token
 * or fingerprint gets into a drawing.
 */
import type { FoundRecord } from "../../engine/operators/operator.ts";
import type { StoredRecord } from "../../machine/record.ts";
import type { ListedRecord, NotePage, NoteReason } from "../../stores/store.ts";
import { plainText } from "../terminal.ts";
import type { Canvas, Style } from "../terminal.ts";
import type { Row } from "./pages.ts";
import { describeResult } from "./result.ts";

/** How a record stands, in one word: that of an owner whose lease has ended is its own. */
export type Standing = StoredRecord["state"] | "lease-ended" | "unreadable";

const styles: Readonly<Record<Standing, Style>> = {
  "in-doubt": ["bold", "yellow"],
  "lease-ended": "yellow",
  unreadable: "red",
  "in-progress": "blue",
  completed: "green",
  released: "dim",
};

/** The standing of a record by this machine's clock. */
export function standingOf(record: ListedRecord, nowMs: number = Date.now()): Standing {
  const isSilent = record.state === "in-progress" && record.leaseEndsAtMs <= nowMs;
  return isSilent ? "lease-ended" : record.state;
}

/** Records as a table: id, standing, age, operation. */
export function drawRecords(rows: readonly Row[], canvas: Canvas): string {
  const cells = rows.map(({ id, record }) => {
    const standing = record === undefined ? "unreadable" : standingOf(record);
    const age = record === undefined ? "" : ageOf(sinceMs(record));
    return [id, standing, age, plainText(record?.operation ?? "")];
  });
  return drawTable(["ID", "STATE", "AGE", "OPERATION"], cells, {
    ...canvas,
    styleOf: (cell) => styles[cell as Standing],
  });
}

const reasons: Readonly<Record<NoteReason, string>> = {
  "result-not-recorded": "ran, but its result could not be recorded: a retry may run again",
  "lease-lost": "ran on after losing its lease: another owner may have run, too",
  bypassed: "ran unprotected while the store was down",
};

/** Notes as a table. */
export function drawNotes(notes: NotePage["notes"], canvas: Canvas): string {
  const cells = notes.map(({ id, reason, operation, atMs }) => [
    id,
    reason,
    ageOf(atMs),
    plainText(operation),
  ]);
  const table = drawTable(["ID", "REASON", "AGE", "OPERATION"], cells, canvas);
  const seen = new Set(notes.map(({ reason }) => reason));
  const width = Math.max(...[...seen].map((reason) => reason.length));
  const legend = [...seen].map((reason) =>
    canvas.paint("dim", `${reason.padEnd(width)}  ${reasons[reason]}`),
  );
  return `${table}\n${legend.join("\n")}\n`;
}

interface TableCanvas extends Canvas {
  readonly styleOf?: (cell: string) => Style | undefined;
}

function drawTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  { columns, paint, styleOf = () => undefined }: TableCanvas,
): string {
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const draw = (row: readonly string[], paintCell: (cell: string, text: string) => string) => {
    let left = columns;
    return row
      .map((cell, column) => {
        const isLast = column === titles.length - 1;
        const text = isLast ? shortened(cell, left) : cell.padEnd(widths[column] ?? 0);
        left -= text.length + 2;
        return paintCell(cell, text);
      })
      .join("  ")
      .trimEnd();
  };
  const lines = rows.map((row) =>
    draw(row, (cell, text) => {
      const style = styleOf(cell);
      return style === undefined ? text : paint(style, text);
    }),
  );
  return `${[draw(titles, (_, text) => paint("dim", text)), ...lines].join("\n")}\n`;
}

function shortened(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(8, width - 1))}…`;
}

/** One record in full, without the bytes of its result. */
export function drawCard({ id, record }: FoundRecord, { paint }: Canvas): string {
  const standing = standingOf(record);
  const facts: (readonly [string, string])[] = [
    ["id", id],
    ["state", paint(styles[standing], standing) + meaningOf(record, standing)],
    ["operation", plainText(record.operation)],
    ["attempt", String(record.attempt)],
    ["claimed", instant(record.claimedAtMs)],
    ...momentsOf(record),
    ["kept until", instant(record.expiresAtMs)],
    ...stepsOf(record),
    ...(record.state === "completed" ? [["result", describeResult(record.result)] as const] : []),
    ...(record.resolutions ?? []).map(({ outcome, by, note, atMs }, index) => {
      const said = `${instant(atMs)}  ${outcome}, by ${plainText(by)}: ${plainText(note)}`;
      return [index === 0 ? "resolved" : "", said] as const;
    }),
  ];
  const lines = facts.map(([name, value]) => `${paint("dim", name.padEnd(11))} ${value}`);
  const hint =
    record.state === "in-doubt"
      ? ["", ...hintFor({ id, record }).map((one) => paint("dim", one))]
      : [];
  return `${[...lines, ...hint].join("\n")}\n`;
}

function meaningOf(record: StoredRecord, standing: Standing): string {
  if (standing === "lease-ended") return ": its owner is silent";
  if (record.state === "in-doubt") {
    return `: executed or not is unknown${record.committed ? "; its owner had committed" : ""}`;
  }
  return record.state === "released" ? ": a retry executes" : "";
}

function hintFor({ id, record }: FoundRecord): readonly string[] {
  return [
    "Find out what happened, then say so, for good:",
    `  latchkey records resolve ${id} \\`,
    `    --attempt ${record.attempt} --by NAME --note TEXT and one of`,
    "    --completed --status 201 --body-file FILE   it was executed: retries get this",
    "    --failed                                    it failed: retries are refused",
    "    --not-executed                              nothing happened: a retry executes",
  ];
}

function momentsOf(record: StoredRecord): readonly (readonly [string, string])[] {
  switch (record.state) {
    case "in-progress":
      return [["lease until", instant(record.leaseEndsAtMs)]];
    case "completed":
      return [["completed", instant(record.completedAtMs)]];
    case "in-doubt":
      return [["in doubt", instant(record.doubtedAtMs)]];
    case "released":
      return [];
  }
}

function stepsOf(record: StoredRecord): readonly (readonly [string, string])[] {
  const names = record.state === "completed" ? [] : Object.keys(record.steps ?? {});
  return names.length === 0 ? [] : [["steps done", names.map(plainText).join(", ")]];
}

function sinceMs(record: ListedRecord): number {
  if (record.state === "completed") return record.completedAtMs;
  return record.state === "in-doubt" ? record.doubtedAtMs : record.claimedAtMs;
}

function instant(atMs: number): string {
  return new Date(atMs)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, "Z");
}

/** `40s`, `3m`, `5h`, `2d`, by this machine's clock. */
function ageOf(atMs: number): string {
  const seconds = Math.max(0, Math.floor((Date.now() - atMs) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
