/** The demo's page in a real browser: what people click, what they read, and that nothing fails. */
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDemo } from "../support/demo-process.ts";
import type { DemoProcess } from "../support/demo-process.ts";

const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = process.env["CHROMIUM_BIN"] ?? places.find((path) => existsSync(path));
const required = process.env["REQUIRE_ALL"] === "1";

// Skipped only where there is no Chromium: Playwright's own download is not used.
describe.skipIf(executablePath === undefined && !required)("the demo's page", () => {
  let demo: DemoProcess;
  let browser: Browser;
  let page: Page;
  const errors: string[] = [];
  beforeAll(async () => {
    demo = await startDemo({ store: "memory:", delay: "600ms" });
    if (executablePath === undefined)
      throw new Error("No Chromium: install it, or set CHROMIUM_BIN.");
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
    page = await browser.newPage({ viewport: { width: 390, height: 800 } });
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(demo.url);
  });
  afterAll(async () => {
    await browser?.close();
    await demo.kill();
  });

  const verdict = () => page.textContent("#verdict strong");
  async function click(selector: string): Promise<void> {
    await page.click(selector);
    await page.waitForSelector("#again:enabled");
  }

  it("tells what protection does, click by click", async () => {
    await click("button[data-count='2']");
    expect(await verdict()).toBe("2 clicks, 1 charge.");
    await click("#again");
    expect(await verdict()).toBe("1 click, 0 charges.");
    await click("button[data-count='50']");
    expect(await verdict()).toBe("50 clicks, 1 charge.");
    expect(await page.locator(".lane i.executed").count()).toBe(1);
    expect(await page.textContent("#total")).toBe("2");
    await page.check("input[value=off]");
    await click("button[data-count='2']");
    expect(await verdict()).toBe("2 clicks, 2 charges.");
    expect(errors).toEqual([]);
  });

  it("fits a phone without scrolling sideways", async () => {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(width).toBe(390);
  });
});
