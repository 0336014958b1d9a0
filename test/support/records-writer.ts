/**
 * Records payments in a SQLite store, as a process of its own, and says of each step when it was
 * acknowledged. Argument: the file. Begins once it is told to; ends when it is killed.
 */
import { once } from "node:events";
import { writeSync } from "node:fs";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import { recordPayments } from "./power-cut.ts";

const store = sqliteStore(String(process.argv[2]));
await store.check?.();
writeSync(1, "at rest.\n");
await once(process.stdin, "data");
await recordPayments(store, (words) => void writeSync(1, `${words}\n`));
writeSync(1, "all done.\n");
await new Promise(() => setInterval(() => undefined, 1000));
