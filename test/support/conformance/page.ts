/**
 * docs/conformance.md as data: rendered from results, and read back to see whether it still holds.
 */
import type { RuleResult } from "../../../src/conformance/suites.ts";

/** What a cell says: that the rule is held, or why it is not seen there. */
export interface Row {
  readonly rule: string;
  readonly section: string;
  readonly title: string;
  /** By column: `"✓"`, or the reason. */
  readonly cells: Readonly<Record<string, string>>;
}

/** The cell of a result; throws for a broken rule, which no page may tell as a fact. */
export function cellOf({ rule, outcome, reason = "", heldBy = "" }: RuleResult): string {
  switch (outcome) {
    case "held":
      return "✓";
    case "skipped":
      return reason;
    case "elsewhere":
      return `${reason} Held by ${heldBy}.`;
    case "broken":
      throw new Error(`${rule} is broken: ${reason}`);
  }
}

/** The rows of one run of each subject. */
export function rowsOf(runs: ReadonlyMap<string, readonly RuleResult[]>): readonly Row[] {
  const [first = []] = runs.values();
  return first.map(({ rule, section, title }, index) => {
    const cells = [...runs].map(([name, results]) => {
      const result = results[index];
      if (result?.rule !== rule) throw new Error(`${name} has no result for ${rule}.`);
      return [name, cellOf(result)];
    });
    return { rule, section, title, cells: Object.fromEntries(cells) as Row["cells"] };
  });
}

const head = `# Conformance

What each adapter was seen to do over real sockets: every rule, every adapter.
\`npm run conformance\` writes this page from the suite's own results, and a test fails when it is
out of date. The suite is [\`latchkey/conformance\`](verify.md); \`latchkey verify URL\` runs the
part that any server can show.

✓ means held. A letter points to the reason below its table. The rules are tried on the memory
store here, and on SQLite, Redis and Postgres in the long tests.
`;

/** The whole page. */
export function renderPage(rows: readonly Row[]): string {
  const sections = Map.groupBy(rows, (row) => row.section);
  const [row] = rows;
  const names = Object.keys(row?.cells ?? {});
  const parts = [...sections].map(([title, held]) => renderSection(title, held, names));
  return `${head}\n${parts.join("\n")}`;
}

function renderSection(title: string, rows: readonly Row[], names: readonly string[]): string {
  const reasons = [...new Set(rows.flatMap((row) => Object.values(row.cells)))];
  const notes = reasons.filter((reason) => reason !== "✓");
  const letterOf = (reason: string): string =>
    reason === "✓" ? "✓" : String.fromCodePoint(97 + notes.indexOf(reason));
  const lines = [
    `## ${title}`,
    "",
    `| rule | what it says | ${names.join(" | ")} |`,
    `| --- | --- |${" :-: |".repeat(names.length)}`,
    ...rows.map(({ rule, title: words, cells }) => {
      const marks = names.map((name) => letterOf(cells[name] ?? ""));
      return `| ${rule} | ${words} | ${marks.join(" | ")} |`;
    }),
    "",
    ...notes.map((reason, index) => `${String.fromCodePoint(97 + index)}: ${reason}  `),
    ...(notes.length > 0 ? [""] : []),
  ];
  return lines.join("\n");
}

/** The rows of a page as it stands. */
export function parsePage(page: string): readonly Row[] {
  return page
    .split(/^## /m)
    .slice(1)
    .flatMap((text) => parseSection(text));
}

function parseSection(text: string): readonly Row[] {
  const [section = "", ...lines] = text.split("\n");
  const notes = new Map(
    lines.flatMap((line) => {
      const [, letter = "", reason = ""] = /^([a-z]): (.*?) *$/.exec(line) ?? [];
      return letter === "" ? [] : [[letter, reason] as const];
    }),
  );
  const [names = [], , ...rows] = lines
    .filter((line) => line.startsWith("| "))
    .map((line) => line.slice(2, -2).split(" | "));
  return rows.map(([rule = "", title = "", ...marks]) => {
    const cells = marks.map((mark, index) => [names[index + 2], notes.get(mark) ?? mark]);
    return { rule, section, title, cells: Object.fromEntries(cells) as Row["cells"] };
  });
}
