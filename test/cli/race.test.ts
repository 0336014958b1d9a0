/**
 * `latchkey race` as its users run it, against the demo and against servers that are wrong on
 * purpose.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { startDemo } from "../support/demo-process.ts";

const command = new URL("../../src/cli/latchkey.ts", import.meta.url).pathname;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function race(url: string, ...options: readonly string[]) {
  const child = spawn(process.execPath, [command, "race", url, ...options]);
  const [output, complaints] = [text(child.stdout), text(child.stderr)];
  const [code] = (await once(child, "close")) as [number];
  return { code, output: await output, complaints: (await complaints).trim() };
}

type Answer = readonly [status: number, body: string, headers?: Readonly<Record<string, string>>];
interface Asked {
  readonly key: string;
  readonly body: string;
  readonly runs: () => string;
}

/** A server whose answers a test makes up; `runs` counts and names executions. */
async function serve(answer: (asked: Asked) => Answer | Promise<Answer>): Promise<string> {
  let count = 0;
  async function respond(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = await text(req);
    const key = String(req.headers["idempotency-key"]);
    const [status, words, headers] = await answer({ key, body, runs: () => `run ${(count += 1)}` });
    res.writeHead(status, headers).end(words);
  }
  const server = createServer((req, res) => void respond(req, res)).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** A correct endpoint in memory; `break` makes it wrong in one way. */
function endpoint(fault: "none" | "changing bytes" | "any body" | "unmarked" = "none") {
  const records = new Map<string, { readonly body: string; result?: string }>();
  return async ({ key, body, runs }: Asked): Promise<Answer> => {
    const known = records.get(key);
    if (known === undefined) {
      const record: { readonly body: string; result?: string } = { body };
      records.set(key, record);
      await sleep(100);
      record.result = runs();
      return [200, record.result];
    }
    if (known.body !== body && fault !== "any body") return [422, "another body"];
    if (known.result === undefined) return [409, "in progress"];
    const headers = fault === "unmarked" ? {} : { "idempotency-replayed": "true" };
    return [200, fault === "changing bytes" ? `${known.result}!` : known.result, headers];
  };
}

describe("latchkey race", () => {
  it("calls the demo's protected payment safe, the unprotected one unsafe", async () => {
    const demo = await startDemo({ store: "memory:", delay: "150ms" });
    closers.push(demo.kill);
    const safe = await race(`${demo.url}/process-payment`, "-n", "10");
    expect(safe.output).toContain("SAFE: one key, one execution");
    expect(safe.code).toBe(0);
    const unsafe = await race(`${demo.url}/unprotected/process-payment`);
    expect(unsafe.output).toContain("UNSAFE");
    expect(unsafe.code).toBe(1);
  });

  it.each([
    ["none", 0, "Of 5 at once: 1 ran, 4 refused (409)."],
    ["unmarked", 0, "It ran once."],
    ["changing bytes", 1, "differ from the first answer"],
    ["any body", 1, "another body got the first answer"],
  ] as const)("judges an endpoint with fault %s: exit code %i", async (fault, code, words) => {
    const result = await race(await serve(endpoint(fault)), "-n", "5", "--data", '{"amount":1}');
    expect(result.output).toContain(words);
    expect(result.code).toBe(code);
  });

  it("says what cannot be told: equal answers, errors, nobody there", async () => {
    const alike = await race(await serve(() => [200, "ok"]));
    expect(alike.output).toContain("a second execution would not show");
    expect(alike.code).toBe(1); // it answered another body, which alone is wrong
    expect((await race(await serve(() => [500, "broken"]))).code).toBe(2);
    const nobody = await race("http://127.0.0.1:1/");
    expect(nobody.output).toContain("ECONNREFUSED");
    expect(nobody.code).toBe(2);
  });

  it("writes JSON, and a picture without a word unescaped", async () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-race-"));
    closers.push(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "race.html");
    const url = `${await serve(endpoint())}?<script>`;
    const { output, code } = await race(url, "--json", "--html", file, "--rounds", "2");
    expect(code).toBe(0);
    const report = JSON.parse(output) as { verdict: string; rounds: { executions: number }[] };
    expect(report.verdict).toBe("safe");
    expect(report.rounds.map((round) => round.executions)).toEqual([1, 1]);
    const page = readFileSync(file, "utf8");
    expect(page).toContain("It ran once.");
    expect(page).not.toContain("<script>");
    expect(page).not.toMatch(/(?:src|href)="http/);
  });

  it.each([
    [["nonsense"], "URL must start with http"],
    [["http://h/", "-n", "0"], "-n must be a number from 1 to 1000"],
    [["http://h/", "--header", "no colon"], "--header must be"],
    [["http://h/", "--key", "a b"], "--key must be"],
    [["http://h/", "--timeout", "soon"], "--timeout must be a duration"],
    [["http://h/", "--nope"], "unknown option"],
  ])("answers %j with one line and exit code 2", async (args, words) => {
    const [url = "", ...options] = args;
    const { code, complaints } = await race(url, ...options);
    expect(complaints).toContain(words);
    expect([code, complaints.split("\n").length]).toEqual([2, 1]);
  });
});
