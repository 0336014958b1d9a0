/** Writes docs/conformance.md: runs every rule on every adapter. */
import { writeFileSync } from "node:fs";
import { rulesOf, verifyRules } from "../src/conformance/http/verify.ts";
import type { RuleResult } from "../src/conformance/suites.ts";
import { columns } from "../test/support/conformance/columns.ts";
import { renderPage, rowsOf } from "../test/support/conformance/page.ts";

const runs = new Map<string, readonly RuleResult[]>();
for (const subject of columns) {
  const results = await verifyRules(subject, rulesOf());
  runs.set(subject.name, results);
  console.log(
    `${subject.name}: ${results.filter(({ outcome }) => outcome === "held").length} held`,
  );
}
writeFileSync(new URL("../docs/conformance.md", import.meta.url), renderPage(rowsOf(runs)));
