/** A server killed past its point of no return, and the operator who settles it from a shell. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startListening } from "../support/listening-process.ts";
import { until } from "../support/poll.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisProcess } from "../support/redis-server.ts";
import { runCommand } from "../support/run-command.ts";

let folder: string;
let redis: RedisProcess;
const running: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-kill-"));
  redis = await startRedis();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((kill) => kill()));
});
afterAll(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true });
});

const script = new URL("../support/committing-server.ts", import.meta.url).pathname;

async function start(store: string, delayMs: number) {
  const { url, output, kill } = await startListening(script, [store, String(delayMs)]);
  running.push(kill);
  const pay = (): Promise<Response> =>
    fetch(url, { method: "POST", headers: { "idempotency-key": "k" }, body: "42" });
  return { kill, pay, charges: () => output().split("charged").length - 1 };
}

const stores: readonly (readonly [string, () => string])[] = [
  ["SQLite", () => `sqlite:${join(folder, "killed.db")}`],
  ["Redis", () => redis.url],
];

describe.each(stores)("a payment on %s whose server is killed after its commit", (_name, url) => {
  it("is never run again; an operator says what its retries get (B-75)", async () => {
    const store = url();
    const [doomed, other] = await Promise.all([start(store, 60_000), start(store, 0)]);
    const cut = doomed.pay().catch(() => "cut");
    await until(() => doomed.charges() === 1 || undefined);
    await doomed.kill();
    expect(await cut).toBe("cut");

    // Nobody has asked again yet: the record is found all the same, once its lease has ended.
    const env = { LATCHKEY_STORE: store };
    const id = await until(
      async () => {
        const { output } = await runCommand(["attention", "--json"], env);
        const { inDoubt } = JSON.parse(output) as { inDoubt: readonly { id: string }[] };
        return inDoubt[0]?.id;
      },
      { withinMs: 30_000 },
    );
    const refusal = await other.pay();
    expect([refusal.status, refusal.headers.get("retry-after")]).toEqual([409, null]);
    expect(await refusal.json()).toMatchObject({ code: "outcome-unknown" });
    const lookup = ["--operation", "POST /payments", "--scope", "public", "--key", "k"];
    const response = ["--status", "201", "--header", "content-type: text/plain", "--body", "r-7"];
    const signed = ["--by", "ann", "--note", "the bank has charge 7", "--attempt", "1"];
    const word = ["--completed", ...response, ...signed];
    const resolved = await runCommand(["records", "resolve", ...lookup, ...word], env);
    expect(resolved).toMatchObject({ code: 0, complaints: "" });
    const retry = await other.pay();
    expect([retry.status, await retry.text()]).toEqual([201, "r-7"]);
    expect(retry.headers.get("idempotency-replayed")).toBe("true");
    expect((await runCommand(["records", "resolve", id, ...word], env)).code).toBe(1);
    expect(other.charges()).toBe(0);
  }, 60_000);
});
