/** The page on verifying: its example does what the page says, in full. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { factsOf, rulesOf, verifyRule } from "../src/conformance/http/verify.ts";
import { urlSubject } from "../src/conformance/suites.ts";
import type { HttpSubject } from "../src/conformance/suites.ts";

const page = readFileSync(new URL("../docs/verify.md", import.meta.url), "utf8");
const [, example = ""] = /```js\n(.*?)```/s.exec(page) ?? [];
const closers: (() => unknown)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** Runs the example as it stands, but on a free port, and with `guarded` as given. */
async function run(guarded = "testRoute"): Promise<HttpSubject> {
  const source = new URL("../src/", import.meta.url).href;
  const imports = `
    import { createEngine } from "${source}index.ts";
    import { idempotent } from "${source}adapters/node.ts";
    import { memoryStore } from "${source}stores/memory.ts";`;
  const script = example
    .replace("const guarded = testRoute;", `const guarded = ${guarded};`)
    .replace(
      "listen(8080)",
      `listen(0, "127.0.0.1", function () { console.log(this.address().port); })`,
    );
  const args = ["--input-type=module", "--eval", imports + script];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
  closers.push(() => child.kill("SIGKILL"));
  const [port] = (await once(child.stdout, "data")) as [Buffer];
  return urlSubject(new URL(`http://127.0.0.1:${port.toString().trim()}/verify`));
}

describe("the example of docs/verify.md", () => {
  it("can do all that the rules ask for, and protects nothing by itself", async () => {
    const subject = await run();
    const { lacks, releases } = await factsOf(subject);
    expect([Object.keys(lacks).toSorted(), releases]).toEqual([["cors", "timeouts"], true]);
    const [placed] = rulesOf(["B-26"]);
    if (placed === undefined) throw new Error("There is no rule B-26.");
    expect(await verifyRule(subject, placed)).toMatchObject({ outcome: "broken", unsafe: true });
  });

  it("holds every rule under a layer that is sound", async () => {
    const engine = "createEngine({ store: memoryStore() })";
    const subject = await run(`idempotent(${engine}, { scope: "public" }, testRoute)`);
    const broken: unknown[] = [];
    for (const placed of rulesOf()) {
      const result = await verifyRule(subject, placed);
      if (result.outcome === "broken") broken.push(result);
    }
    expect(broken).toEqual([]);
  });
});
