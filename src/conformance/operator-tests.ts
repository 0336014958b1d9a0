/** The contract's tests for what operators use: steps, resolutions, listings and notes. */
import { deepStrictEqual, equal, ok, rejects } from "node:assert/strict";
import type { OwnerToken, RecordId } from "../machine/record.ts";
import type { Note, RecordPage, Store } from "../stores/store.ts";
import { claimBy } from "./claim-by.ts";
import type { StoreTest } from "./claim-by.ts";

const retentionMs = 10_000;
const a = "owner-a" as OwnerToken;
const b = "owner-b" as OwnerToken;
const one = Uint8Array.of(0, 255);
const two = Uint8Array.of(10, 13);

export const operatorTests: Readonly<Record<string, StoreTest>> = {
  "hands finished steps to the next attempt, and to nobody else": async ({ store, clock }, id) => {
    await store.claim(id, claimBy(a));
    deepStrictEqual(await store.step(id, { owner: a, name: "charge", result: one }), recorded);
    deepStrictEqual(await store.step(id, { owner: a, name: "charge", result: two }), recorded);
    deepStrictEqual(await store.step(id, { owner: a, name: "mail", result: two }), recorded);
    await clock.advance(100);
    const next = await store.claim(id, claimBy(b));
    ok(next.kind === "claimed");
    deepStrictEqual(next.steps, { charge: one, mail: two });
    const late = await store.step(id, { owner: a, name: "late", result: one });
    deepStrictEqual(late, { kind: "lease-lost" });
    await store.release(id, b);
    const third = await store.claim(id, claimBy(a));
    ok(third.kind === "claimed" && third.attempt === 3);
    deepStrictEqual(third.steps, { charge: one, mail: two });
    await store.complete(id, { owner: a, result: one, retentionMs: 1 });
    await clock.advance(1);
    const anew = await store.claim(id, claimBy(b));
    ok(anew.kind === "claimed");
    deepStrictEqual(anew.steps, {});
  },
  "keeps what operators say about a record in doubt": async ({ store }, id) => {
    const word = {
      attempt: 1,
      by: "ops",
      note: "asked the bank",
      outcome: { kind: "not-executed" },
    } as const;
    await store.claim(id, claimBy(a));
    deepStrictEqual(await store.resolve(id, word), { kind: "not-in-doubt" });
    await doubt(store, id, a);
    deepStrictEqual(await store.resolve(id, word), { kind: "resolved" });
    const second = await store.claim(id, claimBy(b));
    ok(second.kind === "claimed" && second.attempt === 2);
    await doubt(store, id, b);
    const outcome = { kind: "failed", result: two, retentionMs } as const;
    const other = { attempt: 2, by: "eve", note: "declined", outcome };
    deepStrictEqual(await store.resolve(id, other), { kind: "resolved" });
    const kept = await store.get(id);
    ok(kept?.state === "completed");
    deepStrictEqual(kept.result, two);
    deepStrictEqual(
      kept.resolutions?.map(({ outcome: said, by, note }) => [said, by, note]),
      [
        ["not-executed", "ops", "asked the bank"],
        ["failed", "eve", "declined"],
      ],
    );
  },
  "hears no operator on another attempt than the record's": async ({ store }, id) => {
    await store.claim(id, claimBy(a));
    await store.release(id, a);
    await store.claim(id, claimBy(b));
    await doubt(store, id, b);
    const before = await store.get(id);
    const outcome = { kind: "not-executed" } as const;
    for (const attempt of [1, 3]) {
      const word = { attempt, by: "ops", note: "looked into it", outcome };
      deepStrictEqual(await store.resolve(id, word), { kind: "not-in-doubt" });
      deepStrictEqual(await store.get(id), before);
    }
    const heard = { attempt: 2, by: "ops", note: "looked into it", outcome };
    deepStrictEqual(await store.resolve(id, heard), { kind: "resolved" });
  },
  "shows what a claim would find, and hears operators on it": async ({ store, clock }, id) => {
    const ids = ["committed", "cautious", "free"].map((name) => `${id}-${name}` as RecordId);
    const [committed, cautious, free] = ids as [RecordId, RecordId, RecordId];
    await store.claim(committed, claimBy(a));
    await store.commit(committed, a);
    await store.claim(cautious, claimBy(a, { onAbandoned: "in-doubt" }));
    await store.claim(free, claimBy(a));
    const statesOf = async (): Promise<readonly unknown[]> => {
      const got = await Promise.all(ids.map((name) => store.get(name)));
      for (const state of ["in-doubt", "in-progress"] as const) {
        const listed = (await allOf(store, state)).filter((entry) => ids.includes(entry.id));
        const wanted = ids.filter((_, index) => got[index]?.state === state);
        deepStrictEqual(listed.map((entry) => entry.id).toSorted(), wanted.toSorted());
        ok(listed.every(({ record }) => record.state === state));
      }
      return got.map((record) => record?.state);
    };
    await clock.advance(99);
    deepStrictEqual(await statesOf(), ["in-progress", "in-progress", "in-progress"]);
    const word = { attempt: 1, by: "ops", note: "n", outcome: { kind: "not-executed" } } as const;
    deepStrictEqual(await store.resolve(committed, word), { kind: "not-in-doubt" });
    await clock.advance(1);
    deepStrictEqual(await statesOf(), ["in-doubt", "in-doubt", "in-progress"]);
    deepStrictEqual(await store.resolve(free, word), { kind: "not-in-doubt" });
    deepStrictEqual(await store.resolve(committed, word), { kind: "resolved" });
    // Its owner is late, but nobody has spoken of it.
    deepStrictEqual(
      await store.complete(cautious, { owner: a, result: one, retentionMs }),
      recorded,
    );
    deepStrictEqual(await statesOf(), ["released", "completed", "in-progress"]);
  },
  "tells a late owner that an operator has spoken for it": async ({ store }, id) => {
    const word = { attempt: 1, by: "ops", note: "n" } as const;
    const late = { owner: a, result: two, retentionMs };
    for (const kind of ["completed", "failed"] as const) {
      const name = `${id}-${kind}` as RecordId;
      await store.claim(name, claimBy(a));
      await doubt(store, name, a);
      await store.resolve(name, { ...word, outcome: { kind, result: one, retentionMs } });
      deepStrictEqual(await store.complete(name, late), { kind: "lease-lost" });
      const kept = await store.get(name);
      ok(kept?.state === "completed");
      deepStrictEqual(kept.result, one);
    }
    await store.claim(id, claimBy(a));
    await doubt(store, id, a);
    await store.resolve(id, { ...word, outcome: { kind: "not-executed" } });
    await store.claim(id, claimBy(b));
    const own = { ...late, owner: b };
    deepStrictEqual(await store.complete(id, own), recorded);
    deepStrictEqual(await store.complete(id, own), recorded);
  },
  "lists the records of a state page by page, without their bytes": async ({ store }, id) => {
    const ids = Array.from({ length: 5 }, (_, index) => `${id}-${index}` as RecordId);
    for (const name of ids) {
      await store.claim(name, claimBy(a));
      await store.step(name, { owner: a, name: "s", result: one });
    }
    for (const name of ids.slice(0, 3)) await doubt(store, name, a);
    const doubted = (await allOf(store, "in-doubt")).filter((entry) => entry.id.startsWith(id));
    deepStrictEqual(doubted.map((entry) => entry.id).toSorted(), ids.slice(0, 3));
    ok(doubted.every(({ record }) => record.state === "in-doubt" && !("steps" in record)));
    const all = (await allOf(store)).filter((entry) => entry.id.startsWith(id));
    deepStrictEqual(all.map((entry) => entry.id).toSorted(), ids);
    await rejects(async () => store.list({ limit: 1001 }), TypeError);
  },
  "keeps one note for each record and reason, until it is dismissed": async ({ store }, id) => {
    const note = { id, reason: "lease-lost", operation: "POST /r" } as const;
    await store.note(note);
    await store.note(note);
    await store.note({ ...note, reason: "bypassed" });
    const notes = async (): Promise<readonly Note[]> => {
      const found = [];
      for (let after: string | undefined = ""; after !== undefined;) {
        const page = await store.attention(after === "" ? { limit: 1 } : { limit: 1, after });
        found.push(...page.notes);
        after = page.next;
      }
      return found.filter((one) => one.id === id);
    };
    const reasons = (await notes()).map(({ reason }) => reason);
    deepStrictEqual(reasons.toSorted(), ["bypassed", "lease-lost"]);
    equal(await store.dismiss(id), 2);
    deepStrictEqual(await notes(), []);
  },
};

const recorded = { kind: "recorded" };

async function doubt(store: Store, id: RecordId, owner: OwnerToken): Promise<void> {
  await store.commit(id, owner);
  deepStrictEqual(await store.release(id, owner), { kind: "in-doubt" });
}

async function allOf(
  store: Store,
  state?: "in-doubt" | "in-progress",
): Promise<readonly RecordPage["records"][number][]> {
  const query = state === undefined ? { limit: 2 } : { limit: 2, state };
  const found: RecordPage["records"][number][] = [];
  let page = await store.list(query);
  for (;;) {
    found.push(...page.records);
    if (page.next === undefined) return found;
    page = await store.list({ ...query, after: page.next });
  }
}
