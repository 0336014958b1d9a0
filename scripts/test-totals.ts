// Adds up vitest's JSON reports and prints the build's last line: node scripts/test-totals.ts
// FILE… A test file that could not even be loaded counts as one failure, as does a report that is
// missing.

import { existsSync, readFileSync } from "node:fs";

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

let passed = 0;
let failed = 0;
for (const file of process.argv.slice(2)) {
  if (existsSync(file)) {
    const report = JSON.parse(readFileSync(file, "utf8")) as Report;
    passed += report.numPassedTests;
    failed += report.numFailedTests + unloadable(report);
  } else {
    failed += 1;
  }
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

function unloadable(report: Report): number {
  return report.testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((one) => one.status === "failed"),
  ).length;
}
