/**
 * A payments server to be killed, as a process of its own: its handler commits, says so, and
 * answers after a delay. Arguments: store URL, delay in ms.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { idempotent } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { storeFromUrl } from "../../src/stores/store-from-url.ts";

const [, , url = "", delay = "0"] = process.argv;
const engine = createEngine({ store: await storeFromUrl(url), lease: "500ms" });
const settings = { scope: "public", operation: "POST /payments" } as const;
const guarded = idempotent(engine, settings, async (_, res, idempotency) => {
  await idempotency?.commit();
  process.stdout.write("charged\n");
  await sleep(Number(delay));
  res.end("receipt");
});
const server = createServer((req, res) => void guarded(req, res)).listen(0, "127.0.0.1");
await once(server, "listening");
process.stdout.write(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
