/** `latchkey records` and `latchkey attention` as operators run them, on each kind of store. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withIdsApart } from "../../src/cli/records/store-options.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { fingerprintOf } from "../../src/engine/values/fingerprint.ts";
import { resolveWithResponse } from "../../src/http/operators/resolve-with-response.ts";
import { storeFromUrl } from "../../src/stores/store-from-url.ts";
import type { Store } from "../../src/stores/store.ts";
import { startPostgres } from "../support/postgres-server.ts";
import type { PostgresProcess } from "../support/postgres-server.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisProcess } from "../support/redis-server.ts";
import { runHere } from "../support/run-command.ts";

let redis: RedisProcess;
let postgres: PostgresProcess;
let folder: string;
beforeAll(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  folder = mkdtempSync(join(tmpdir(), "latchkey-records-"));
});
afterAll(async () => {
  await Promise.all([redis.stop(), postgres.stop()]);
  rmSync(folder, { recursive: true });
});

const secretKey = "key-of-a-customer";
const fingerprint = fingerprintOf([], { kind: "none" });
const signed = ["--by", "ann", "--note", "asked the bank"];

/** The id of a record in doubt. */
async function doubt(engine: Engine, key: string, operation = "POST /payments"): Promise<string> {
  const admission = await engine.begin({ operation, scope: "acme", key, fingerprint });
  if (admission.kind !== "execute") throw new Error(admission.kind);
  await admission.claim.step("reserve", () => "r-1");
  await admission.claim.commit();
  await admission.claim.release();
  const found = await engine.find({ operation, scope: "acme", key });
  return String(found?.id);
}

let files = 0;
const stores: readonly (readonly [string, () => string])[] = [
  ["SQLite", () => `sqlite:${join(folder, `${(files += 1)}.db`)}`],
  ["Redis", () => redis.url],
  ["Postgres", () => postgres.url],
];

/** Opens a store, fills it, and runs commands on it. */
async function withRecords(
  url: string,
  test: (engine: Engine, run: ReturnType<typeof runner>, store: Store) => Promise<void>,
): Promise<void> {
  const store = await storeFromUrl(url);
  try {
    await test(createEngine({ store }), runner(url), store);
  } finally {
    await store.close();
  }
}

function runner(url: string) {
  return (...args: readonly string[]) => runHere(args, url);
}

describe.each(stores)("latchkey records on %s", (_name, url) => {
  it("lists, shows and resolves, without a key, an owner or a byte of a result", async () => {
    await withRecords(url(), async (engine, run, store) => {
      const id = await doubt(engine, secretKey);
      const other = await doubt(engine, "other");
      const list = await run("records", "list", "--state", "in-doubt");
      expect(list.output).toMatch(new RegExp(`^${id}  in-doubt +\\d+s +POST /payments$`, "m"));
      expect(list.output).toContain(other);
      const card = await run("records", "show", id);
      expect(card.output).toMatch(/^state +in-doubt: .*its owner had committed$/m);
      expect(card.output).toMatch(/^steps done +reserve$/m);
      const body = join(folder, "body.json");
      writeFileSync(body, '{"card":"4242"}');
      const header = ["--header", "content-type: application/json", "--body-file", body];
      const word = ["--completed", "--status", "201", ...header, ...signed];
      expect(await run("records", "resolve", id, ...word)).toEqual({
        code: 0,
        output: "Resolved as completed: retries get status 201.\n",
        complaints: "",
      });
      const shown = [
        await run("records", "show", id),
        await run("records", "show", id, "--json"),
        await run("records", "list"),
        await run("records", "list", "--json"),
      ];
      const record = await store.get(id as never);
      if (record === undefined) throw new Error("There is no record.");
      for (const { output } of [list, card, ...shown]) {
        for (const secret of [secretKey, record.owner, record.fingerprint, "4242", "r-1"]) {
          expect(output).not.toContain(secret);
        }
      }
      expect(shown[0]?.output).toMatch(/^resolved +\d{4}-\S+ \S+Z {2}completed, by ann: asked/m);
      const lookup = ["--operation", "POST /payments", "--scope", "acme", "--key", secretKey];
      const result = await run("records", "show", ...lookup, "--result");
      expect(result.output).toMatch(/\nstatus 201\ncontent-type: application\/json\n\n\{"card"/);
      const again = await run("records", "resolve", id, "--failed", ...signed);
      expect(again).toMatchObject({ code: 1, output: "" });
      expect(again.complaints).toBe(
        "latchkey: This record is not in doubt: it is completed. Nothing was changed.",
      );
    });
  });
});

describe.each(stores)("latchkey records on %s", (_name, url) => {
  it("resolves functions, refuses another attempt, forgets and sweeps", async () => {
    await withRecords(url(), async (engine, run) => {
      const request = { operation: "charge", scope: "acme", key: "f" };
      const id = await doubt(engine, "f", "charge");
      const late = await run("records", "resolve", id, "--failed", "--attempt", "2", ...signed);
      expect(late).toMatchObject({ code: 1 });
      expect(late.complaints).toContain("is at attempt 1, not 2");
      const value = ["--completed", "--value", '{"paid":1}', "--retention", "1h"];
      const json = await run("records", "resolve", id, ...value, ...signed, "--json");
      expect(JSON.parse(json.output)).toEqual({ id, reply: "resolved", outcome: "completed" });
      expect(await engine.run<unknown>(request, () => "again")).toEqual({ paid: 1 });
      expect((await run("records", "sweep")).output).toMatch(/^\d+ records? swept\.\n$/);
      const forget = await run("records", "forget", id);
      expect(forget).toMatchObject({ code: 2, output: "" });
      expect(forget.complaints).toMatch(/is completed\. .* executes\. Say --yes to forget it\.$/);
      expect((await run("records", "forget", id, "--yes")).code).toBe(0);
      expect((await run("records", "forget", id, "--yes")).code).toBe(1);
      expect(await engine.run<unknown>(request, () => "again")).toBe("again");
    });
  });

  it("lists what needs attention, and takes it off the list", async () => {
    await withRecords(url(), async (engine, run, store) => {
      const id = await doubt(engine, "attention");
      await store.note({ id: id as never, reason: "bypassed", operation: "POST /payments" });
      await store.note({ id: id as never, reason: "lease-lost", operation: "a\u001b[31mb" });
      const { output } = await run("attention");
      expect(output).toMatch(new RegExp(`Resolve each:[^]*${id}  in-doubt`));
      expect(output).toMatch(new RegExp(`dismiss it:[^]*${id}  bypassed`));
      expect(output).toContain("a?[31mb");
      expect(output).not.toContain("\u001b"); // no terminal, no colour
      const listed = JSON.parse((await run("attention", "--json")).output) as {
        readonly inDoubt: readonly { readonly id: string }[];
        readonly notes: readonly { readonly id: string; readonly reason: string }[];
      };
      expect(listed.inDoubt.map((one) => one.id)).toContain(id);
      const reasons = listed.notes.filter((one) => one.id === id).map(({ reason }) => reason);
      expect(reasons.toSorted()).toEqual(["bypassed", "lease-lost"]);
      const dismissed = await run("attention", "dismiss", id, "--json");
      expect(JSON.parse(dismissed.output)).toEqual({ id, dismissed: 2 });
      expect(await run("attention", "dismiss", id)).toMatchObject({
        code: 1,
        complaints: "latchkey: There are no notes on this record.",
      });
    });
  });
});

describe("latchkey records", () => {
  it("goes on behind a page until nothing is left", async () => {
    await withRecords(stores[0]?.[1]() ?? "", async (engine, run) => {
      const ids = await Promise.all(["a", "b", "c"].map((key) => doubt(engine, key)));
      const first = await run("records", "list", "--limit", "2");
      const cursor = /^More: --after (\S+)$/m.exec(first.output)?.[1] ?? "";
      const rest = await run("records", "list", "--after", cursor);
      expect(rest.output).not.toContain("More:");
      const found = [...(first.output + rest.output).matchAll(/^([\w-]{32}) /gm)];
      expect(found.map(([, id]) => id)).toEqual(ids.toSorted());
    });
  });

  it("shows a failure and a value for what they are", async () => {
    await withRecords(stores[0]?.[1]() ?? "", async (engine, run) => {
      const failed = await doubt(engine, "failed");
      await resolveWithResponse(engine, failed, {
        outcome: "failed",
        status: 402,
        by: "ann",
        note: "n",
      });
      expect((await run("records", "show", failed)).output).toMatch(
        /^result +failed: retries get failed, status 402$/m,
      );
      const bytes = await doubt(engine, "bytes");
      const value = Uint8Array.of(255, 0);
      await engine.resolve(bytes, { outcome: "completed", value, by: "ann", note: "n" });
      const shown = await run("records", "show", bytes, "--result", "--json");
      expect(JSON.parse(shown.output)).toMatchObject({ result: { kind: "bytes", base64: "/wA=" } });
    });
  });

  it("takes an id that begins with a dash for no option", () => {
    const id = `-${"x".repeat(42)}`;
    expect(withIdsApart(["records", "show", id, "--json"])).toEqual(
      ["records", "show", "--json", "--"].concat(id),
    );
    expect(withIdsApart(["show", "--json", id])).toEqual(["show", "--json", "--", id]);
    for (const args of [
      ["show", "--key", id],
      ["list", "--after", id],
      ["show", "--", id],
    ]) {
      expect(withIdsApart(args)).toEqual(args);
    }
  });

  const url = ["--store", "sqlite:./package.json"];
  const resolve = ["records", "resolve", "x", ...url];
  it.each([
    [["records", "list"], /Which store\? Give --store .* or LATCHKEY_STORE\.$/],
    [["records", "list", "--store", "memory:"], /A memory store is gone/],
    [["records", "list", "--store", "sqlite:./none.db"], /There is no SQLite store at/],
    [["records", "list", ...url, "--limit", "0"], /--limit must be a number from 1 to 1000/],
    [["records", "list", ...url, "--state", "doubt"], /--state must be in-progress, completed/],
    [["records", "show", ...url], /Which record\? Give its id, or --operation/],
    [["records", "show", "x", "--key", "k", ...url], /Which record\?/],
    [[...resolve], /one of --not-executed, --completed, --failed/],
    [[...resolve, "--completed", "--failed", ...signed], /one of --not-executed/],
    [[...resolve, "--completed"], /--by NAME --note TEXT/],
    [[...resolve, "--completed", ...signed, "--body", "x"], /needs its --status/],
    [[...resolve, "--completed", ...signed, "--status", "x"], /--status must be an HTTP status/],
    [[...resolve, "--completed", ...signed, "--header", "x"], /--header must be 'Name: value'/],
    [[...resolve, "--completed", ...signed, "--value", "x"], /--value must be JSON/],
    [[...resolve, "--completed", ...signed, "--body-file", "/no"], /--body-file cannot be read/],
    [[...resolve, "--not-executed", ...signed, "--status", "200"], /not executed has no --status/],
    [["records", "nope"], /unknown command 'nope'/],
    [["attention", "nope"], /too many arguments/],
  ])("answers %j with one line and exit code 2", async (args, words) => {
    const { code, output, complaints } = await runHere(args);
    expect(complaints).toMatch(words);
    expect([code, output, complaints.split("\n").length]).toEqual([2, "", 1]);
  });

  it.each([
    [["--store", "redis://127.0.0.1:1"], /Redis cannot be reached/],
    [["--store", "sqlite:./package.json"], /SQLite store cannot be used/],
  ])("answers a store it cannot open, %j, with one line and exit code 1", async (args, words) => {
    const { code, complaints } = await runHere(["records", "list", ...args]);
    expect(complaints).toMatch(words);
    expect([code, complaints.split("\n").length]).toEqual([1, 1]);
  });
});
