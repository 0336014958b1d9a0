/**
 * `latchkey verify` as its users run it: against the demo, protected and not, against servers
 * written by hand, and with every mistake one can type.
 */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { faults } from "../support/broken/faults.ts";
import { serveHandWritten } from "../support/broken/hand-written.ts";
import type { Parts } from "../support/broken/hand-written.ts";
import { startDemo } from "../support/demo-process.ts";
import { runCommand, runHere } from "../support/run-command.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function handWritten(parts: Partial<Parts> = {}): Promise<string> {
  const { subject, close } = await serveHandWritten(parts);
  closers.push(close);
  return subject.name;
}

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

describe("latchkey verify", () => {
  it("finds every rule held by the demo's test route, and broken without protection", async () => {
    const demo = await startDemo({ store: "memory:" });
    closers.push(demo.kill);
    const callers = ["--as", "x-customer: a", "--as", "x-customer: b"];
    const held = await runCommand(["verify", `${demo.url}/verify`, ...callers]);
    expect(held.output).toMatch(/^ {2}✓ B-26 {2}a retry gets the same status and bytes/m);
    expect(held.output).toMatch(/^ {2}✓ B-100 /m);
    expect(held.output).toMatch(/\n6\d held, 0 broken, \d skipped\. \d+ more need a route/);
    expect(held.output).toContain("\nHELD: every rule that could be tried holds.\n");
    expect(held.output).not.toContain("\u001b"); // no terminal, no colours
    expect([held.code, held.complaints]).toEqual([0, ""]);
    const unsafe = await runCommand(["verify", `${demo.url}/unprotected/verify`]);
    const words = "✗ B-26  a retry gets the same status and bytes, and runs nothing\n";
    expect(unsafe.output).toContain(
      `${words}          UNSAFE: The handler ran twice; expected once.`,
    );
    expect(unsafe.output).toContain("\nUNSAFE: work can be done twice");
    expect(unsafe.code).toBe(1);
  });

  it("tries only what is asked for, and tells what needs more", async () => {
    const url = await handWritten();
    const as = ["--as", "x-user: u-1"];
    const { output, code } = await runHere(["verify", url, ...as, "--only", "b-26, B-39,B-81"]);
    expect(output.split("\n")).toEqual([
      url,
      "",
      "Replay",
      "  ✓ B-26  a retry gets the same status and bytes, and runs nothing",
      "  – B-39  a refused credential gets no replay",
      "          It needs a credential that the server refuses (--revoked).",
      "",
      "Lease, crash, zombie",
      "  – B-81 needs a route mounted for it",
      "",
      expect.stringMatching(/^1 held, 0 broken, 1 skipped\. 1 more needs a route .*httpSuite/),
      "HELD: every rule that could be tried holds.",
      "",
    ]);
    expect(code).toBe(0);
    const none = await runHere(["verify", url, "--only", "B-81"]);
    expect(none.output).toContain("COULD NOT TELL");
    expect(none.code).toBe(2);
  });

  it("ends by itself: what there is no time for was not tried, and is not held", async () => {
    const url = await handWritten();
    const { output, code } = await runHere(["verify", url, "--within", "1", "--only", "B-26"]);
    expect(output).toContain("The time for all rules was over.");
    expect(output).toContain("COULD NOT TELL: nothing is broken, but not every rule was tried.");
    expect(code).toBe(2);
  });

  it("uses the credentials it is given", async () => {
    const url = await handWritten();
    const as = ["--as", "x-user: u-1", "--as", "x-user: u-2", "--rotated", "x-user: u-1"];
    const only = ["--only", "B-39,B-100,B-102,B-104"];
    const revoked = ["--revoked", "authorization: Bearer revoked"];
    const { output, code } = await runHere(["verify", url, ...as, ...revoked, ...only]);
    expect(output).toContain("4 held, 0 broken, 0 skipped.");
    expect(code).toBe(0);
  });

  it("calls unsafe what does harm, and broken what does not", async () => {
    const { parts } = faults["lets refusals be cached"] ?? {};
    const url = await handWritten(parts);
    const { output, code } = await runHere(["verify", url, "--only", "B-26,B-41"]);
    expect(output).toMatch(/✗ B-41 .*\n {10}A refusal \(422 key-reused\) has no Cache-Control\.\n/);
    expect(output).toContain("BROKEN: rules do not hold, though nothing was seen to run twice");
    expect(code).toBe(1);
  });

  it("writes JSON, and a page without a word unescaped", async () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-verify-"));
    closers.push(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "verify.html");
    const url = `${await handWritten()}/<i>`;
    const run = await runHere(["verify", url, "--json", "--html", file, "--only", "B-26,B-2"]);
    const report = JSON.parse(run.output) as { readonly results: readonly object[] };
    expect(report).toMatchObject({ verdict: "held", held: 1, broken: 0, skipped: 1 });
    expect(report.results).toMatchObject([
      { rule: "B-2", outcome: "skipped", reason: "The route requires no key." },
      { rule: "B-26", outcome: "held" },
    ]);
    const page = readFileSync(file, "utf8");
    expect(page).toContain("a retry gets the same status and bytes, and runs nothing");
    expect(page).not.toContain("<i>");
    expect(page).not.toMatch(/<script|(?:src|href)="http/);
  });

  it("lists every rule without a request", async () => {
    const { output, code } = await runHere(["verify", "--list"]);
    expect(output.match(/^ {2}B-\d+ /gm)).toHaveLength(115);
    expect(output).toContain("· needs a store whose clock can be moved, and");
    expect(code).toBe(0);
  });
});

describe("a mistake with latchkey verify", () => {
  it.each([
    [[], "Name the URL of a test route"],
    [["nonsense"], "URL must start with http"],
    [["http://127.0.0.1:1/?a=1"], "URL must not have a query"],
    [["http://me:secret@127.0.0.1:1/"], "URL must not carry a password"],
    [["http://example.com/"], "example.com is not this machine"],
    [["http://127.0.0.1.example.com/"], "is not this machine"],
    [["http://10.0.0.1/"], "Add --allow-remote"],
    [["http://127.0.0.1:1/", "--only", "B-91"], '"B-91" is no rule that a URL shows'],
    [["http://127.0.0.1:1/", "--as", "nobody"], "--as must be 'Name: value'"],
    [["http://127.0.0.1:1/", ..."abc".split("").flatMap((one) => ["--as", `a: ${one}`])], "two"],
    [["http://127.0.0.1:1/", "--timeout", "soon"], "--timeout must be a duration"],
    [["http://127.0.0.1:1/", "--within", "2h"], "--within must be at most 1h"],
    [["http://127.0.0.1:1/", "--nope"], "unknown option"],
    [["http://127.0.0.1:1/"], "The server cannot be reached: connect ECONNREFUSED"],
    [["http://[::1]:1/"], "The server cannot be reached: connect ECONNREFUSED"],
  ])("is one line and exit code 2: %j", async (args, words) => {
    const { code, output, complaints } = await runHere(["verify", ...args]);
    expect(complaints).toContain(words);
    expect([code, complaints.split("\n").length, output]).toEqual([2, 1, ""]);
  });

  it.each([
    ["a page", (_req, res) => void res.end("<h1>hello</h1>"), "This is no test route"],
    ["silence", () => undefined, "no complete answer within 200 ms"],
    ["a refusal", (_req, res) => void res.writeHead(401).end(), "This is no test route"],
    [
      "a handler that does not do as told",
      (_req, res) => void res.end('{"executions":0}'),
      "The handler did not answer as told: POST got 200",
    ],
  ] as [string, RequestListener, string][])(
    "in the address, where there is %s, is one line, too",
    async (_what, listener, words) => {
      const url = await serve(listener);
      const { code, output, complaints } = await runHere(["verify", url, "--timeout", "200ms"]);
      expect(complaints).toContain(words);
      expect([code, complaints.split("\n").length, output]).toEqual([2, 1, ""]);
    },
  );
});
