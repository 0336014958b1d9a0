/**
 * How many bytes a record takes in each store: `node bench/record-bytes.ts [redis://…]
 * [postgres://…]`. SQLite is measured in a temporary file; servers that are named should be empty.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemRuntime } from "../src/engine/runtime.ts";
import { encodeEnvelope } from "../src/engine/values/codec.ts";
import { digestOf, namesOf } from "../src/engine/values/key.ts";
import type { Fingerprint, OwnerToken } from "../src/machine/record.ts";
import { storeFromUrl } from "../src/stores/store-from-url.ts";
import type { Store } from "../src/stores/store.ts";

const count = 20_000;
const names = namesOf();
const bodyBytes = 328;
const head = { status: 201, headers: [["content-type", "application/json; charset=utf-8"]] };
const result = encodeEnvelope("http", head, Buffer.alloc(bodyBytes, "x"));

async function fill(store: Store, name: string, isCompleted: boolean): Promise<void> {
  const keys = Array.from({ length: count }, (_, index) => `${name} ${index}`);
  for (let start = 0; start < count; start += 500) {
    await Promise.all(
      keys.slice(start, start + 500).map(async (key) => {
        const what = { operation: "POST /payments", onAbandoned: "takeover" } as const;
        const id = names.recordId("acme", what.operation, key);
        const owner = systemRuntime.token() as OwnerToken;
        const fingerprint = names.fingerprint(digestOf([key]) as Fingerprint);
        const times = { leaseMs: 30_000, retentionMs: 86_400_000 };
        await store.claim(id, { owner, fingerprint, ...what, ...times });
        if (isCompleted) await store.complete(id, { owner, result, retentionMs: 86_400_000 });
      }),
    );
  }
}

/** Bytes a record of claims alone, and of completed records, by what `sizeOf` says of the store. */
async function measure(store: Store, sizeOf: () => Promise<number>): Promise<void> {
  const sizes = [await sizeOf()];
  for (const isCompleted of [false, true]) {
    await fill(store, `${isCompleted}`, isCompleted);
    sizes.push(await sizeOf());
  }
  const [empty = 0, claimed = 0, completed = 0] = sizes;
  const each = [(claimed - empty) / count, (completed - claimed) / count].map(Math.round);
  console.log(`${store.name}: ${each[0]} bytes a claim, ${each[1]} bytes a completed record`);
}

async function sqlite(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-bytes-"));
  const path = join(folder, "records.db");
  const store = await storeFromUrl(`sqlite:${path}`);
  await measure(store, async () => {
    const database = new DatabaseSync(path);
    database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    database.close();
    return statSync(path).size;
  });
  await store.close();
  rmSync(folder, { recursive: true });
}

async function redis(url: string): Promise<void> {
  const { Redis } = await import("ioredis");
  const client = new Redis(url);
  const store = await storeFromUrl(url);
  await measure(store, async () => {
    const info = await client.info("memory");
    return Number(/used_memory_dataset:(\d+)/.exec(info)?.[1]);
  });
  await store.close();
  client.disconnect();
}

async function postgres(url: string): Promise<void> {
  const { Client } = (await import("pg")).default;
  const client = new Client(url);
  await client.connect();
  const store = await storeFromUrl(url);
  await measure(store, async () => {
    const sql = "SELECT pg_total_relation_size('latchkey.records') AS bytes";
    const { rows } = await client.query<{ bytes: string }>(sql);
    return Number(rows[0]?.bytes);
  });
  await store.close();
  await client.end();
}

await sqlite();
for (const url of process.argv.slice(2)) {
  await (url.startsWith("redis") ? redis(url) : postgres(url));
}
