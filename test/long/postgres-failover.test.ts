/**
 * A Postgres that is lost, and its standby in its place: what that has forgotten where replication
 * is asynchronous, and has not where it is synchronous.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Pool } from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { postgresStore } from "../../src/stores/postgres/postgres-store.ts";
import type { PostgresStore } from "../../src/stores/postgres/postgres-store.ts";
import { claimPayment, completePayment, findPayment } from "../support/payments.ts";
import { startPostgresPair } from "../support/postgres-pair.ts";
import type { PostgresPair } from "../support/postgres-pair.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

function storeOn(url: string): PostgresStore {
  const pool = new Pool({ connectionString: url, max: 8 });
  pool.on("error", () => undefined); // its server is stopped before it
  closers.push(() => void pool.end());
  return postgresStore(pool, { sweepEveryMs: false });
}

async function startPair(isSynchronous: boolean): Promise<PostgresPair> {
  const pair = await startPostgresPair(isSynchronous, (url) => storeOn(url).migrate());
  closers.push(() => pair.stop());
  return pair;
}

/** Whether a claim is acknowledged, within a time that is long for a healthy pair. */
async function isAcknowledged(claiming: Promise<void>): Promise<boolean> {
  const told = claiming.then(
    () => true,
    () => false,
  );
  return Promise.race([told, delay(1500, false)]);
}

const count = 8;
const payments = Array.from({ length: count }, (_, index) => index);

/** Pays on the primary, then more while the link is cut, and looks for it all on the other. */
async function failOver(pair: PostgresPair) {
  const [before, after] = [storeOn(pair.primary.url), storeOn(pair.standby.url)];
  for (const payment of payments) await claimPayment(before, payment);
  for (const payment of payments.slice(0, 4)) await completePayment(before, payment);
  await pair.settled();
  pair.cut();
  const late = payments.map((payment) => isAcknowledged(claimPayment(before, 100 + payment)));
  const acknowledged = (await Promise.all(late)).filter(Boolean).length;
  await pair.primary.crash();
  await pair.promote();
  const found = async (payment: number): Promise<string> => findPayment(after, payment);
  return {
    early: await Promise.all(payments.map(found)),
    late: await Promise.all(payments.map((payment) => found(100 + payment))),
    acknowledged,
  };
}

const kept = payments.map((payment) => (payment < 4 ? "receipt" : "in-progress"));
const free = payments.map(() => "claimed");

describe("a standby in the place of its Postgres", { timeout: 60_000 }, () => {
  it("grants what the other had granted while it was cut off (asynchronous)", async () => {
    const outcome = await failOver(await startPair(false));
    expect(outcome).toEqual({ early: kept, late: free, acknowledged: count });
  });

  it("never does where the other waited for it (synchronous)", async () => {
    const outcome = await failOver(await startPair(true));
    expect(outcome).toEqual({ early: kept, late: free, acknowledged: 0 });
  });
});
