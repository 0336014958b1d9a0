/**
 * The demo as its users start it: settings, mistakes, the page, and an end that loses no payment.
 */
import { spawnSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDemo } from "../support/demo-process.ts";
import { until } from "../support/poll.ts";

const command = new URL("../../src/cli/latchkey.ts", import.meta.url).pathname;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-cli-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const all = [command, "demo", "--port", "0", ...args];
  const options = { env: { ...process.env, ...env }, timeout: 15_000 };
  const { status, stderr } = spawnSync(process.execPath, all, options);
  return { status, lines: stderr.toString().trim().split("\n") };
}

describe("latchkey demo", () => {
  it.each([
    [["--port", "abc"], /PORT must be a number/],
    [["--delay", "soon"], /DELAY must be a duration/],
    [["--lease", "1ms"], /LEASE must be a duration/],
    [["--retention", "0s"], /RETENTION must be a duration/],
    [["--store", "mysql://h"], /A store URL is memory:/],
    [["--nope"], /unknown option '--nope'/],
  ])("answers %j with one line and exit code 2", (args, words) => {
    const { status, lines } = run(args);
    expect(status).toBe(2);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(words);
  });

  it("reads its settings from the environment, too", () => {
    const { status, lines } = run([], { DELAY: "later" });
    expect([status, lines.length]).toEqual([2, 1]);
    expect(lines[0]).toMatch(/DELAY must be a duration/);
  });

  it.each([
    ["sqlite:/proc/nowhere/x.db", /SQLite store cannot be used/],
    ["sqlite:/dev/null/x.db", /SQLite store cannot be used/],
    ["redis://127.0.0.1:1", /Redis cannot be reached/],
  ])("answers a store it cannot open, %s, with one line and exit code 1", (store, words) => {
    const { status, lines } = run(["--store", store]);
    expect([status, lines.length]).toEqual([1, 1]);
    expect(lines[0]).toMatch(words);
  });

  it("refuses a database of a newer schema, and a port in use", async () => {
    const path = join(folder, "newer.db");
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    const refused = run(["--store", `sqlite:${path}`]);
    expect([refused.status, refused.lines.length]).toEqual([1, 1]);
    expect(refused.lines[0]).toMatch(/schema 99, newer than 1/);
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const taken = run(["--store", "memory:", "--port", String(port)]);
    other.close();
    expect([taken.status, taken.lines.length]).toEqual([1, 1]);
    expect(taken.lines[0]).toMatch(/address cannot be used.*Choose another PORT/);
  });

  it("says where it is, and commands to paste, on IPv6 too", async () => {
    const demo = await startDemo({ store: "memory:", delay: "0ms", host: "::1" });
    expect(demo.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
    expect(await demo.charges()).toEqual([]);
    expect(demo.output()).toContain(`npx latchkey race ${demo.url}/process-payment\n`);
    expect(demo.output()).toContain(`-H 'Idempotency-Key: demo-1' ${demo.url}/process-payment\n`);
    await demo.kill();
    const nowhere = run(["--store", "memory:", "--host", "nowhere.invalid"]);
    expect([nowhere.status, nowhere.lines.length]).toEqual([1, 1]);
    expect(nowhere.lines[0]).toMatch(/address cannot be used.*Choose another HOST/);
  });

  it("serves its page, its books and clear refusals", async () => {
    const demo = await startDemo({ store: "memory:", delay: "0ms" });
    const page = await fetch(demo.url);
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const html = await page.text();
    expect(html).toContain("Click twice, pay once.");
    expect(html).not.toMatch(/(?:src|href)=|https?:\/\//); // nothing from elsewhere
    expect(await demo.charges()).toEqual([]);
    const wrong = await fetch(`${demo.url}/process-payment`);
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await fetch(`${demo.url}/nothing`)).status).toBe(404);
    const json = { method: "POST", headers: { "content-type": "application/json" } };
    const broken = await fetch(`${demo.url}/process-payment`, { ...json, body: "{no" });
    expect(broken.status).toBe(400);
    expect((await demo.pay("not a key")).status).toBe(400);
    expect(await demo.charges()).toEqual([]);
    await demo.kill();
  });

  it("says that it finishes what is running, and ends at once when told again", async () => {
    const demo = await startDemo({ store: "memory:", delay: "1m" });
    const running = demo.pay("k").catch((error: unknown) => error);
    await until(async () => (await demo.pay("k")).status === 409 || undefined);
    demo.signal("SIGINT");
    await until(() => demo.complaints().includes("Finishing what is running.") || undefined);
    demo.signal("SIGTERM");
    expect(await demo.exited).toBe(null); // by the signal
    expect(await running).toBeInstanceOf(Error);
  });

  it("finishes what is running on SIGTERM, and keeps its books over a restart", async () => {
    const store = `sqlite:${join(folder, "books.db")}`;
    const demo = await startDemo({ store, delay: "700ms" });
    const running = demo.pay("k");
    await until(async () => (await demo.pay("k")).status === 409 || undefined);
    demo.signal("SIGTERM");
    const response = await running;
    expect(response.status).toBe(200);
    const { receipt } = (await response.json()) as { receipt: string };
    expect(await demo.exited).toBe(0);
    const again = await startDemo({ store, delay: "700ms" });
    expect((await again.charges()).map((charge) => charge.receipt)).toEqual([receipt]);
    expect(await (await again.pay("k")).json()).toMatchObject({ receipt });
    await again.kill();
  });
});
