/** The operators' commands on a store whose results are encrypted and whose names have a secret. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { compressed, encrypted } from "../../src/engine/results/results.ts";
import { createEngine } from "../../src/index.ts";
import type { Claim, Engine } from "../../src/index.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { runHere } from "../support/run-command.ts";

const keys = { young: randomBytes(32), old: randomBytes(32) };
const secret = randomBytes(32).toString("base64");
const said = Object.entries(keys).map(([id, key]) => `${id}=${key.toString("base64")}`);
const signed = ["--by", "ann", "--note", "asked the bank"];

let folder: string;
let url: string;
let store: Store;
let engine: Engine;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-at-rest-"));
  const path = join(folder, "records.db");
  url = `sqlite:${path}`;
  store = sqliteStore(path);
  const results = [compressed(), encrypted({ keys, current: "old" })];
  engine = createEngine({ store, secret, results });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await store.close();
  rmSync(folder, { recursive: true });
});

const run = (env: Readonly<Record<string, string>>, ...args: readonly string[]) => {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  return runHere(["records", ...args], url);
};
const whole = { LATCHKEY_RESULT_KEYS: said.join(), LATCHKEY_SECRET: secret };

const charge = { operation: "charge", key: "k" };
async function doubt(): Promise<string> {
  const work = async (claim: Claim) => {
    await claim.step("reserve", () => "r-1");
    await claim.commit();
    throw new Error("no answer from the bank");
  };
  await engine.run(charge, work).catch(() => undefined);
  return String((await engine.find(charge))?.id);
}

it("with the application's keys they show results, and resolve for it to read", async () => {
  const receipt = { card: "4242".repeat(500) };
  await engine.run({ ...charge, key: "done" }, () => receipt);
  const asked = ["--operation", "charge", "--key", "done"];
  const shown = await run(whole, "show", ...asked, "--result");
  expect(shown.output).toContain(JSON.stringify(receipt));
  const id = await doubt();
  const value = ["--completed", "--value", '{"paid":true}'];
  const resolved = await run(whole, "resolve", id, ...value, ...signed);
  expect(resolved).toMatchObject({ code: 0, complaints: "" });
  expect(await engine.run(charge, () => "again")).toEqual({ paid: true });
  const record = await store.get(id as never);
  const bytes = record?.state === "completed" ? record.result : Buffer.from("paid");
  expect(Buffer.from(bytes).includes("paid")).toBe(false);
});

it("without keys they show all but the result, and record none that would be locked", async () => {
  await engine.run({ ...charge, key: "done" }, () => "4242");
  const [done] = (await store.list()).records;
  const shown = await run({}, "show", String(done?.id));
  expect(shown.output).toMatch(
    /^result +not to be read here \(is LATCHKEY_RESULT_KEYS missing\?\)$/m,
  );
  const id = await doubt();
  const refused = await run({}, "resolve", id, "--failed", ...signed);
  expect(refused).toMatchObject({ code: 2, output: "" });
  expect(refused.complaints).toMatch(/are sealed\. Set LATCHKEY_RESULT_KEYS/);
  expect((await engine.find(id))?.record.state).toBe("in-doubt");
  expect(await run({}, "resolve", id, "--not-executed", ...signed)).toMatchObject({ code: 0 });
  expect(await engine.run(charge, () => "now")).toBe("now");
});

it("with other keys they say so, and can still forget", async () => {
  await engine.run(charge, () => "4242");
  const [record] = (await store.list()).records;
  const other = { LATCHKEY_RESULT_KEYS: `old=${randomBytes(32).toString("base64")}` };
  const shown = await run(other, "show", String(record?.id));
  expect(shown).toMatchObject({ code: 1, output: "" });
  expect(shown.complaints).toMatch(
    /cannot be opened: it was changed, moved, or sealed with another/,
  );
  expect(await run(other, "forget", String(record?.id), "--yes")).toMatchObject({ code: 0 });
  expect(await engine.find(charge)).toBeUndefined();
});

it.each(["young", "young=", "young=c2hvcnQ=", said.join(";")])(
  "refuses %j as keys in one line, without repeating it",
  async (list) => {
    const { code, complaints } = await run({ LATCHKEY_RESULT_KEYS: list }, "list");
    expect([code, complaints.split("\n").length]).toEqual([2, 1]);
    expect(complaints).toMatch(/LATCHKEY_RESULT_KEYS must be id=KEY/);
    expect(complaints).not.toContain(list);
  },
);
