/** Transactions that begin when nobody wants them any more, as from an exhausted pool. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, expect, it } from "vitest";
import { createEngine } from "../../src/index.ts";
import { beginOn, sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";

const folder = mkdtempSync(join(tmpdir(), "latchkey-late-"));
const closers: (() => unknown)[] = [() => rmSync(folder, { recursive: true })];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

it("a transaction that begins too late is rolled back, and ends no process (B-92)", async () => {
  const path = join(folder, "store.db");
  const store = sqliteStore(path);
  const database = new DatabaseSync(path);
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", onUnhandled);
  closers.push(
    () => store.close(),
    () => database.close(),
    () => process.off("unhandledRejection", onUnhandled),
  );
  const engine = createEngine({ store, storeTimeout: "50ms" });
  const transaction = beginOn(database);
  const gate = Promise.withResolvers<void>();
  const busy = transaction(() => gate.promise);
  const late = engine.run({ operation: "o", key: "k", transaction }, () => 1);
  await expect(late).rejects.toMatchObject({ code: "store-unavailable" });
  gate.resolve();
  await busy;
  await transaction(async () => {}); // behind the late one
  await new Promise<void>((turn) => setImmediate(turn)); // where Node tells of such rejections
  expect(unhandled).toEqual([]);
  expect(await engine.run({ operation: "o", key: "k", transaction }, () => 2)).toBe(2);
});
