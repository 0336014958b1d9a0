/** Deliberately broken stores: a contract suite that none of them fails would prove nothing. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import type { Clock } from "../../src/conformance/store-suite.ts";
import type { Store } from "../../src/stores/store.ts";
import { memorySubject, redisSubject, sqliteSubject } from "../support/subjects.ts";
import type { Subject } from "../support/subjects.ts";

type Mutation = (store: Store, clock: Clock) => Partial<Store>;

const mutants: Readonly<Record<string, Mutation>> = {
  "looks first and claims later": (store) => ({
    claim: async (id, claim) => {
      const seen = await store.get(id);
      if (seen === undefined) void store.forget(id);
      return store.claim(id, claim);
    },
  }),
  "completes for any owner": (store) => ({
    complete: async (id, completion) => {
      const owner = (await store.get(id))?.owner ?? completion.owner;
      return store.complete(id, { ...completion, owner });
    },
  }),
  "releases for any owner": (store) => ({
    release: async (id, owner) => store.release(id, (await store.get(id))?.owner ?? owner),
  }),
  "renews for any owner": (store) => ({
    renew: async (id, owner, leaseMs) =>
      store.renew(id, (await store.get(id))?.owner ?? owner, leaseMs),
  }),
  "commits for any owner": (store) => ({
    commit: async (id, owner) => store.commit(id, (await store.get(id))?.owner ?? owner),
  }),
  "deletes on release": (store) => ({
    release: async (id, owner) => {
      const reply = await store.release(id, owner);
      if (reply.kind === "released") await store.forget(id);
      return reply;
    },
  }),
  "takes the lease for the life of the record": (store) => ({
    claim: (id, claim) => store.claim(id, { ...claim, retentionMs: claim.leaseMs }),
  }),
  "locks its own owner out": (store) => ({
    claim: async (id, claim) => {
      const held = await store.get(id);
      const own = held?.state === "in-progress" && held.owner === claim.owner;
      if (own) return { kind: "in-progress", retryAfterMs: 1, runningForMs: 1 };
      return store.claim(id, claim);
    },
  }),
  "keeps results as text": (store) => ({
    complete: (id, completion) => {
      const text = Buffer.from(completion.result).toString("utf8");
      return store.complete(id, { ...completion, result: Buffer.from(text) });
    },
  }),
  "remembers steps for any owner": (store) => ({
    step: async (id, step) =>
      store.step(id, { ...step, owner: (await store.get(id))?.owner ?? step.owner }),
  }),
  "takes a step's latest result": (store) => ({
    claim: async (id, claim) => {
      const reply = await store.claim(id, claim);
      if (reply.kind !== "claimed") return reply;
      return { ...reply, steps: { ...reply.steps, ...latest.get(id) } };
    },
    step: async (id, step) => {
      latest.set(id, { ...latest.get(id), [step.name]: step.result });
      return store.step(id, step);
    },
  }),
  "lets a late owner believe that its result was kept": (store) => ({
    complete: async (id, completion) => {
      const reply = await store.complete(id, completion);
      const kept = await store.get(id);
      const isOwner = kept?.state === "completed" && kept.owner === completion.owner;
      return isOwner ? { kind: "recorded" } : reply;
    },
  }),
  "resolves whatever attempt stands": (store) => ({
    resolve: async (id, word) => {
      const { attempt } = (await store.get(id)) ?? word;
      return store.resolve(id, { ...word, attempt });
    },
  }),
  "lists only the doubts that were told to somebody": (store) => {
    const told = new Set<string>();
    return {
      claim: async (id, claim) => noting(id, await store.claim(id, claim)),
      release: async (id, owner) => noting(id, await store.release(id, owner)),
      list: async (query) => {
        const page = await store.list(query);
        const isTold = ({ id, record }: (typeof page.records)[number]) =>
          record.state !== "in-doubt" || told.has(id);
        return { ...page, records: page.records.filter(isTold) };
      },
    };
    function noting<Reply extends { readonly kind: string }>(id: string, reply: Reply): Reply {
      if (reply.kind === "in-doubt") told.add(id);
      return reply;
    }
  },
  "hears operators only after somebody was told": (store) => {
    const told = new Set<string>();
    return {
      claim: async (id, claim) => {
        const reply = await store.claim(id, claim);
        if (reply.kind === "in-doubt") told.add(id);
        return reply;
      },
      release: async (id, owner) => {
        const reply = await store.release(id, owner);
        if (reply.kind === "in-doubt") told.add(id);
        return reply;
      },
      resolve: async (id, word) =>
        told.has(id) ? store.resolve(id, word) : { kind: "not-in-doubt" },
    };
  },
  "forgets who resolved a record": (store) => ({
    resolve: (id, word) => store.resolve(id, { ...word, by: "" }),
  }),
  "takes over what was committed": (store, clock) => ({
    claim: async (id, claim) => {
      const held = await store.get(id);
      const lapsed = held?.state === "in-progress" && clock.nowMs() >= held.leaseEndsAtMs;
      if (lapsed) await store.forget(id);
      return store.claim(id, claim);
    },
  }),
};

const latest = new Map<string, Readonly<Record<string, Uint8Array>>>();

async function failuresOf(base: Subject, mutate?: Mutation): Promise<readonly string[]> {
  const { clock } = base;
  const store = { ...base.store, ...mutate?.(base.store, clock) };
  const collected: (readonly [string, () => Promise<void>])[] = [];
  storeSuite({
    it: (name, test) => collected.push([name, test]),
    subject: () => ({ store, clock }),
    histories: 25,
  });
  const failures: string[] = [];
  for (const [name, test] of collected) await test().catch(() => failures.push(name));
  return failures;
}

const subjects = { memory: memorySubject, sqlite: sqliteSubject, redis: redisSubject } as const;

describe.each(Object.entries(subjects))("the contract suite on %s", (_name, open) => {
  let base: Subject;
  beforeAll(async () => {
    base = await open();
  });
  afterAll(() => base.close());

  it("passes the sound store it is measured on", async () => {
    expect(await failuresOf(base)).toEqual([]);
  });

  it.each(Object.entries(mutants))("fails a store that %s", async (_mutant, mutate) => {
    expect(await failuresOf(base, mutate)).not.toEqual([]);
  });
});
