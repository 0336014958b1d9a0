/** Runs the stores' contract on the SQLite store of the runtime that runs this file. */
import process from "node:process";
import { storeSuite } from "latchkey/conformance";
import { sqliteStore } from "latchkey/sqlite";

let nowMs = 1_800_000_000_000;
const store = sqliteStore(":memory:", { now: () => nowMs });
const clock = { nowMs: () => nowMs, advance: (ms: number) => void (nowMs += ms) };

const tests: (readonly [name: string, test: () => Promise<void>])[] = [];
const it = (name: string, test: () => Promise<void>) => tests.push([name, test]);
storeSuite({ it, subject: () => ({ store, clock }), histories: 50 });

let held = 0;
for (const [name, test] of tests) {
  try {
    await test();
    held += 1;
  } catch (error) {
    process.stderr.write(`${name}: ${String(error)}\n`);
  }
}
await store.close();
process.stdout.write(`${held} tests hold\n`);
