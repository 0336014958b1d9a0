/** What every command has in common: its help, a mistyped word, and a reader that leaves early. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { runHere } from "../support/run-command.ts";

const command = new URL("../../src/cli/latchkey.ts", import.meta.url).pathname;

/** Runs it with a reader that is gone before the first byte comes. */
async function runUnread(args: readonly string[]) {
  const child = spawn(process.execPath, [command, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  const complaints = text(child.stderr);
  const [code] = (await once(child, "close")) as [number];
  return { code, complaints: await complaints };
}

describe("the latchkey command", () => {
  it.each([[["--help"]], [["verify", "--list"]], [["schema"]]])(
    "ends in peace when nobody reads what %j prints",
    async (args) => {
      expect(await runUnread(args)).toEqual({ code: 0, complaints: "" });
    },
  );

  it("keeps the exit code that its work has earned when nobody reads it", async () => {
    const { code, complaints } = await runUnread(["race", "http://127.0.0.1:1/"]);
    expect([code, complaints]).toEqual([2, ""]);
  });

  it.each([
    [["rcae"], "latchkey: unknown command 'rcae'. Did you mean race?"],
    [["records", "lst"], "latchkey: unknown command 'lst'. Did you mean list?"],
    [["race", "--tiemout", "3s"], "latchkey: unknown option '--tiemout'. Did you mean --timeout?"],
    [["nonsense"], "latchkey: unknown command 'nonsense'. See latchkey --help."],
    [["race"], "latchkey: missing required argument 'url'. See latchkey race --help."],
  ])("answers the mistake %j in one line that helps", async (args, words) => {
    const { code, output, complaints } = await runHere(args);
    expect({ code, output, complaints }).toEqual({ code: 2, output: "", complaints: words });
  });

  it("shows how to begin, and no empty list as a default", async () => {
    const { code, output } = await runHere(["--help"]);
    expect(code).toBe(0);
    expect(output).toContain("latchkey race http://127.0.0.1:3000/process-payment");
    for (const args of [["race"], ["verify"], ["records", "resolve"]]) {
      expect((await runHere([...args, "--help"])).output).not.toContain("[]");
    }
  });

  it("says in one line that nothing listens where a race was sent", async () => {
    const { code, output } = await runHere(["race", "http://127.0.0.1:1/pay"]);
    expect(code).toBe(2);
    expect(output.trim().split("\n")).toEqual([
      "POST http://127.0.0.1:1/pay",
      "COULD NOT TELL: nothing answers there: connect ECONNREFUSED 127.0.0.1:1.",
    ]);
  });
});
