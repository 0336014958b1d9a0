/** Steps in transactions of their own whose COMMIT was not acknowledged, on SQLite. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, describe, expect, it } from "vitest";
import { createEngine } from "../../src/index.ts";
import type { Begin, Claim } from "../../src/index.ts";
import type { Store } from "../../src/stores/store.ts";
import { beginOn, sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const request = { operation: "transfer", key: "k" };

/** A store that cannot be asked while it is dark, and transactions whose end may be lost. */
function setUp() {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-steps-"));
  const path = join(folder, "store.db");
  const own = sqliteStore(path);
  const database = new DatabaseSync(path);
  database.exec("CREATE TABLE transfers (n INTEGER)");
  closers.push(
    () => rmSync(folder, { recursive: true }),
    () => database.close(),
    () => own.close(),
  );
  const state = { isDark: false };
  const renew: Store["renew"] = (...args) =>
    state.isDark ? Promise.reject(new Error("unreachable")) : own.renew(...args);
  const begin = beginOn(database);
  const reserve = (claim: Claim, transaction: Begin<DatabaseSync>) =>
    claim.step("transfer", { transaction }, (_step, tx) => {
      const { lastInsertRowid } = tx.prepare("INSERT INTO transfers VALUES (1)").run();
      return Number(lastInsertRowid);
    });
  const store = { ...own, renew };
  const engine = createEngine({ store, lease: "300ms", storeTimeout: "50ms" });
  /** A handler whose step fails in the first transaction, and that tries again in a sound one. */
  const triedTwice = (failing: Begin<DatabaseSync>): Promise<number> =>
    engine.run(request, async (claim) => {
      const first = reserve(claim, failing);
      await expect(first).rejects.toMatchObject({ code: "store-unavailable" });
      state.isDark = false;
      return reserve(claim, begin);
    });
  return {
    state,
    begin,
    triedTwice,
    transfers: () => database.prepare("SELECT count(*) AS n FROM transfers").get()?.["n"],
  };
}

describe("a step whose COMMIT was not acknowledged", () => {
  it("is not run again when the handler tries again and it had committed", async () => {
    const { state, begin, triedTwice, transfers } = setUp();
    const losing: Begin<DatabaseSync> = async (work) => {
      await begin(work);
      state.isDark = true;
      throw new Error("The reply was lost.");
    };
    expect([await triedTwice(losing), transfers()]).toEqual([1, 1]);
  });

  it("is run again when the handler tries again and it had not", async () => {
    const { state, begin, triedTwice, transfers } = setUp();
    const failing: Begin<DatabaseSync> = async (work) => {
      await begin(async (tx) => {
        await work(tx);
        state.isDark = true;
        throw new Error("The connection was lost.");
      });
    };
    expect([await triedTwice(failing), transfers()]).toEqual([1, 1]);
  });
});
