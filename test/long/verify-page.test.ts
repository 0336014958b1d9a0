/** The web page of `latchkey verify` in a real browser: it fits a phone, and asks for nothing. */
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { describe, expect, it } from "vitest";
import { verifyHtml } from "../../src/cli/verify/html.ts";
import { rulesOf, verifyRules } from "../../src/conformance/http/verify.ts";
import { faults } from "../support/broken/faults.ts";
import { serveHandWritten } from "../support/broken/hand-written.ts";

const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = process.env["CHROMIUM_BIN"] ?? places.find((path) => existsSync(path));
const required = process.env["REQUIRE_ALL"] === "1";

// Skipped only where there is no Chromium: Playwright's own download is not used.
describe.skipIf(executablePath === undefined && !required)("the page of results", () => {
  it("fits a phone, tells the verdict, and needs no network", async () => {
    if (executablePath === undefined)
      throw new Error("No Chromium: install it, or set CHROMIUM_BIN.");
    const { subject, close } = await serveHandWritten(faults["replays Set-Cookie"]?.parts);
    const results = await verifyRules(subject, rulesOf());
    close();
    const browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    try {
      const page = await browser.newPage({ viewport: { width: 390, height: 800 } });
      const asked: string[] = [];
      page.on("request", (request) => asked.push(request.url()));
      await page.setContent(verifyHtml(new URL(subject.name), results));
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      expect([width, asked]).toEqual([390, []]);
      expect(await page.textContent(".verdict.unsafe")).toContain("UNSAFE");
      expect(await page.textContent("tr.broken .reason")).toBe(
        "Unsafe. The replay carries the first answer's Set-Cookie.",
      );
    } finally {
      await browser.close();
    }
  });
});
