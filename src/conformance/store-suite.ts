/**
 * The contract suite of stores, as a product: point it at a store on its real server, with the test
 * runner you have. Each test says its rule; a store that breaks the rule fails it.
 */
import { deepStrictEqual, equal, ok } from "node:assert/strict";
import type { Fingerprint, OwnerToken, RecordId } from "../machine/record.ts";
import { claimBy } from "./claim-by.ts";
import type { StoreTest, StoreUnderTest } from "./claim-by.ts";
import { operatorTests } from "./operator-tests.ts";
import { walkHistory } from "./histories.ts";

export type { StoreUnderTest } from "./claim-by.ts";
export type { Clock } from "./histories.ts";

export interface StoreSuiteOptions {
  /** Registers one test: vitest's, node:test's or mocha's `it`. */
  readonly it: (name: string, test: () => Promise<void>) => unknown;
  /**
   * The store and its clock; asked at the start of each test. Record ids differ from test to test.
   */
  readonly subject: () => StoreUnderTest;
  /** How many random histories are walked. Default 100. */
  readonly histories?: number;
  /** First seed of the histories. Default: random, and printed in the test's name. */
  readonly seed?: number;
}

/** Registers the contract's tests with a runner. */
export function storeSuite(options: StoreSuiteOptions): void {
  const { it, subject, histories = 100 } = options;
  const seed = options.seed ?? Math.floor(Math.random() * 1_000_000_000);
  for (const [name, test] of Object.entries({ ...tests, ...operatorTests })) {
    const id = `${name.slice(0, 12)}-${seed}` as RecordId;
    it(name, () => test(subject(), id));
  }
  it(`agrees with the model in ${histories} histories from seed ${seed} (S-12)`, async () => {
    for (let index = 0; index < histories; index += 1) await walkHistory(subject(), seed + index);
  });
}

const leaseMs = 100;
const retentionMs = 10_000;
const a = "owner-a" as OwnerToken;
const b = "owner-b" as OwnerToken;
const result = Uint8Array.of(1, 2, 3);

const tests: Readonly<Record<string, StoreTest>> = {
  "grants exactly one of 100 concurrent claims (S-1)": async ({ store }, id) => {
    const claims = Array.from({ length: 100 }, async (_, index) => {
      const reply = await store.claim(id, claimBy(`owner-${index}` as OwnerToken));
      return reply.kind;
    });
    const kinds = await Promise.all(claims);
    equal(kinds.filter((kind) => kind === "claimed").length, 1);
    equal(kinds.filter((kind) => kind === "in-progress").length, 99);
  },
  "answers a resent claim of its owner with the same fence (S-2)": async ({ store }, id) => {
    const first = await store.claim(id, claimBy(a));
    equal(first.kind, "claimed");
    deepStrictEqual(await store.claim(id, claimBy(a)), first);
  },
  "refuses writes of a wrong owner and writes nothing (S-3)": async ({ store }, id) => {
    await store.claim(id, claimBy(a));
    const before = await store.get(id);
    const lost = { kind: "lease-lost" };
    deepStrictEqual(await store.renew(id, b, leaseMs), lost);
    deepStrictEqual(await store.commit(id, b), lost);
    deepStrictEqual(await store.complete(id, { owner: b, result, retentionMs }), lost);
    deepStrictEqual(await store.release(id, b), lost);
    deepStrictEqual(await store.get(id), before);
  },
  "takes over only after the lease, with a greater fence (S-4)": async ({ store, clock }, id) => {
    const first = await store.claim(id, claimBy(a));
    await clock.advance(leaseMs - 1);
    equal((await store.claim(id, claimBy(b))).kind, "in-progress");
    await clock.advance(1);
    const second = await store.claim(id, claimBy(b));
    ok(first.kind === "claimed" && second.kind === "claimed");
    ok(second.fence > first.fence && second.takeover && second.attempt === 2);
    const late = await store.complete(id, { owner: a, result, retentionMs });
    deepStrictEqual(late, { kind: "lease-lost" });
  },
  "lets fences grow across expiry (S-4)": async ({ store, clock }, id) => {
    const first = await store.claim(id, claimBy(a));
    await clock.advance(retentionMs);
    const second = await store.claim(id, claimBy(b));
    ok(first.kind === "claimed" && second.kind === "claimed" && second.fence > first.fence);
    equal(second.attempt, 1);
  },
  "keeps a result beyond its lease, and until its retention (S-5)": async (
    { store, clock },
    id,
  ) => {
    await store.claim(id, claimBy(a));
    await store.complete(id, { owner: a, result, retentionMs });
    await clock.advance(retentionMs - 1);
    const replay = await store.claim(id, claimBy(b));
    ok(replay.kind === "completed");
    deepStrictEqual(replay.result, result);
    equal(replay.expiresInMs, 1);
    await clock.advance(1);
    equal((await store.claim(id, claimBy(b))).kind, "claimed");
  },
  "renews a lease from now (B-82)": async ({ store, clock }, id) => {
    await store.claim(id, claimBy(a));
    await clock.advance(90);
    deepStrictEqual(await store.renew(id, a, leaseMs), { kind: "renewed" });
    await clock.advance(90);
    const reply = await store.claim(id, claimBy(b));
    deepStrictEqual(reply, { kind: "in-progress", retryAfterMs: 10, runningForMs: 180 });
  },
  "reports a mismatch in every state (S-7)": async ({ store }, id) => {
    const other = claimBy(b, { fingerprint: "g" as Fingerprint });
    const mismatch = { kind: "mismatch" };
    await store.claim(id, claimBy(a));
    deepStrictEqual(await store.claim(id, other), mismatch);
    await store.release(id, a);
    deepStrictEqual(await store.claim(id, other), mismatch);
    await store.claim(id, claimBy(a));
    await store.commit(id, a);
    deepStrictEqual(await store.release(id, a), { kind: "in-doubt" });
    deepStrictEqual(await store.claim(id, other), mismatch);
    await store.complete(id, { owner: a, result, retentionMs });
    deepStrictEqual(await store.claim(id, other), mismatch);
  },
  "keeps every byte, none, and a megabyte (S-8)": async ({ store }, id) => {
    const all = Uint8Array.from({ length: 256 }, (_, index) => index);
    const large = new Uint8Array(1_048_577).fill(0xc3);
    for (const [index, bytes] of [all, new Uint8Array(0), large].entries()) {
      const one = `${id}-${index}` as RecordId;
      await store.claim(one, claimBy(a));
      await store.complete(one, { owner: a, result: bytes, retentionMs });
      const replay = await store.claim(one, claimBy(b));
      ok(replay.kind === "completed" && Buffer.compare(replay.result, bytes) === 0);
    }
  },
  "never takes over a committed claim (B-75)": async ({ store, clock }, id) => {
    await store.claim(id, claimBy(a));
    deepStrictEqual(await store.commit(id, a), { kind: "committed" });
    await clock.advance(leaseMs);
    equal((await store.claim(id, claimBy(b))).kind, "in-doubt");
    deepStrictEqual(await store.complete(id, { owner: a, result, retentionMs }), {
      kind: "recorded",
    });
  },
  "records once, however often it is told (S-14)": async ({ store }, id) => {
    await store.claim(id, claimBy(a));
    await store.complete(id, { owner: a, result, retentionMs });
    const again = { owner: a, result: new Uint8Array(0), retentionMs };
    deepStrictEqual(await store.complete(id, again), { kind: "recorded" });
    const replay = await store.claim(id, claimBy(b));
    ok(replay.kind === "completed");
    deepStrictEqual(replay.result, result);
  },
  "sweeps no record that is still kept (S-11)": async ({ store }, id) => {
    await store.claim(id, claimBy(a));
    await store.sweep();
    equal((await store.get(id))?.state, "in-progress");
    equal(await store.forget(id), true);
    equal(await store.get(id), undefined);
  },
};
