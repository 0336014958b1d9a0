/** Results as one self-contained page. */
import type { RuleResult } from "../../conformance/http/rule.ts";
import { escapeHtml, webPage } from "../web-page.ts";
import { headlineOf, sectionsOf, summaryOf, verdictOf } from "./summary.ts";
import type { Verdict } from "./summary.ts";

const style = `
table { border-collapse: collapse; width: 100%; } tr { border-bottom: 1px solid var(--line); }
td { padding: .25rem .5rem .25rem 0; vertical-align: top; } td:nth-child(2) { white-space: nowrap; }
td:first-child { width: 1.2rem; font-weight: 700; } td:nth-child(2) { width: 3.5rem; }
.held td:first-child { color: var(--good); } .broken td:first-child { color: var(--bad); }
.skipped { opacity: .65; } .broken .reason { color: var(--bad); }
.reason { font-size: .9em; overflow-wrap: anywhere; }
`;
const marks: Readonly<Record<RuleResult["outcome"], string>> = {
  held: "✓",
  broken: "✗",
  skipped: "–",
  elsewhere: "–",
};
const classes: Readonly<Record<Verdict, string>> = {
  held: "safe",
  broken: "unsure",
  unsafe: "unsafe",
  unknown: "unsure",
};

/** The whole page. */
export function verifyHtml(url: URL, results: readonly RuleResult[]): string {
  const verdict = classes[verdictOf(results)];
  const sections = sectionsOf(results).map(([title, held]) => {
    const rows = held.map((result) => rowHtml(result)).join("\n");
    return `<h2>${escapeHtml(title)}</h2>\n<table>\n${rows}\n</table>`;
  });
  const body = `<h1>${escapeHtml(url.href)}</h1>
<p class="verdict ${verdict}">${escapeHtml(headlineOf(results))}</p>
<p>${escapeHtml(summaryOf(results))}</p>
${sections.join("\n")}`;
  return webPage({ title: `Verified: ${url.href}`, style, body });
}

function rowHtml({ rule, title, outcome, reason, unsafe }: RuleResult): string {
  const harm = unsafe === true ? "<b>Unsafe.</b> " : "";
  const words = reason === undefined ? "" : `${harm}${escapeHtml(reason)}`;
  const why = words === "" ? "" : `<div class="reason">${words}</div>`;
  const cells = [marks[outcome], rule, escapeHtml(title) + why];
  return `<tr class="${outcome}">${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
}
