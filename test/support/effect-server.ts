/**
 * A server whose handler has an irreversible effect, as a process of its own, to be killed and
 * paused at any point: the effect is one line in a file outside of the store, on the disk before
 * the handler goes on. So is an answer that leaves while its record fails. Arguments: store URL,
 * file, regime, longest pause between two steps in ms.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { once } from "node:events";
import { fsyncSync, openSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { idempotent } from "../../src/adapters/node.ts";
import { createEngine } from "../../src/engine/engine.ts";
import { storeFromUrl } from "../../src/stores/store-from-url.ts";
import { unrecordedMark } from "./effect-process.ts";
import type { Regime } from "./effect-process.ts";

const [, , url = "", file = "", regime, pause = "0"] = process.argv;
const books = openSync(file, "a");
const store = await storeFromUrl(url);
const asking = new AsyncLocalStorage<string>();
const engine = createEngine({
  store,
  lease: "500ms",
  storeTimeout: "400ms",
  onEvent: ({ kind }) => {
    if (kind === "complete-failed") writeSync(books, `${unrecordedMark} ${asking.getStore()}\n`);
  },
});
const onAbandoned = (regime as Regime) === "never-take-over" ? "in-doubt" : "takeover";
const options = { scope: "public", operation: "POST /effects", onAbandoned } as const;

/** A pause in the middle of the work: where kills and pauses fall. */
async function linger(): Promise<void> {
  process.stdout.write("lingering\n");
  await sleep(Math.random() * Number(pause));
}

const guarded = idempotent(engine, options, async (_, res, idempotency) => {
  if (idempotency === undefined) throw new Error("Effects are for requests with a key.");
  const { key, attempt, fence, commit } = idempotency;
  await linger();
  if ((regime as Regime) === "commit") await commit();
  await linger();
  writeSync(books, `${key} ${attempt} ${fence}\n`);
  fsyncSync(books);
  await linger();
  res.end(`${key} by attempt ${attempt}`);
});
const server = createServer((req, res) => {
  asking.run(String(req.headers["idempotency-key"]), () => void guarded(req, res));
}).listen(0, "127.0.0.1");
await once(server, "listening");
process.stdout.write(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
