/**
 * Transactions of Prisma: what every driver promises, and what is Prisma's own: its timeout, its
 * errors, its bytes.
 */
import { spawnSync } from "node:child_process";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Transactions } from "../../../src/engine/transaction/transactions.ts";
import { createEngine } from "../../../src/index.ts";
import type { Engine } from "../../../src/index.ts";
import type { Fingerprint, OwnerToken, RecordId } from "../../../src/machine/record.ts";
import { fromPrisma, postgresStore } from "../../../src/stores/postgres/postgres-store.ts";
import { until } from "../../support/poll.ts";
import { startPostgres } from "../../support/postgres-server.ts";
import type { PostgresProcess } from "../../support/postgres-server.ts";
import { startProxy } from "../../support/tcp-proxy.ts";
import { describeTransactions } from "../../support/transaction-rules.ts";
import { sqliteWorld } from "../../support/transactions.ts";
import { layExamples, layPackage, typeErrors } from "../support/lay.ts";
import { generateClients, openOnPostgres, openOnSqlite, prismaWorld } from "./world.ts";
import type { Prisma, PrismaWorld, Tx } from "./world.ts";

const aClaim = {
  fingerprint: "f" as Fingerprint,
  operation: "order",
  leaseMs: 30_000,
  retentionMs: 60_000,
  onAbandoned: "takeover",
} as const;
const work = layPackage("prisma");
let server: PostgresProcess;
let world: PrismaWorld;
let engine: Engine;
beforeAll(async () => {
  generateClients(work);
  server = await startPostgres();
  world = await prismaWorld(work, server.url);
  engine = createEngine({ store: world.store });
}, 60_000);
afterAll(async () => {
  await world.close();
  await server.stop();
});

describeTransactions("Prisma", () => prismaWorld(work, server.url));

const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : error;
const within = (tx: Tx) => world.store.within?.(fromPrisma(tx)) ?? world.store;
let keys = 0;
const ask = () => ({ operation: "order", key: `prisma-${(keys += 1)}` });

describe("a transaction of Prisma that has outlived its timeout", () => {
  const transaction: Transactions<Tx> = {
    begin: (work) => world.prisma.$transaction(work, { timeout: 300 }),
    client: fromPrisma,
  };

  it.each([
    ["says nothing more", async () => "late", "lease-lost"],
    ["writes once more", (tx: Tx, key: string) => world.effect(tx, key), "P2028"],
  ])("is a lost claim: one effect, where its owner %s", async (_, then, told) => {
    const request = ask();
    const begun = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<void>();
    const late = engine.run({ ...request, transaction }, async (_claim, tx) => {
      await world.effect(tx, request.key);
      begun.resolve();
      await taken.promise;
      return then(tx, request.key);
    });
    const outcome = late.catch(codeOf);
    await begun.promise;
    const again = (value: string) =>
      engine.run({ ...request, transaction: world.transaction }, async (_claim, tx) => {
        await world.effect(tx, request.key);
        return value;
      });
    expect(await again("too early").catch(codeOf)).toBe("in-progress");
    expect(await until(() => again("taken over"))).toBe("taken over");
    taken.resolve();
    expect(await outcome).toBe(told);
    expect([await world.effects(request.key), await again("twice")]).toEqual([1, "taken over"]);
  });

  it("is a lost claim in a transaction of the user's, too", async () => {
    const request = ask();
    const told: unknown[] = [];
    const own = world.prisma.$transaction(
      async (tx) => {
        const run = engine.with(within(tx)).run(request, async () => {
          await world.effect(tx, request.key);
          // Until it is over: what its claim had locked is free.
          await until(() => engine.run({ ...request, transaction: world.transaction }, () => 1));
        });
        told.push(await run.catch(codeOf));
      },
      { timeout: 300 },
    );
    await expect(own).rejects.toMatchObject({ code: "P2028" });
    expect([told, await world.effects(request.key)]).toEqual([["lease-lost"], 0]);
  });
});

describe("a COMMIT of Prisma", () => {
  it.each([
    ["whose reply is lost is asked after", "cutReplies", ["done", "completed", 1]],
    ["that never arrives is known to be none", "reset", ["rejected", undefined, 0]],
  ] as const)("%s", async (_, fault, outcome) => {
    const proxy = await startProxy(server.port);
    const url = server.url.replace(String(server.port), String(proxy.port));
    const prisma = await openOnPostgres(work, url);
    const patient = createEngine({ store: world.store, lease: "5s", storeTimeout: "1s" });
    let isArmed = true;
    const transaction: Transactions<Tx> = {
      begin: async (work) => {
        const done = prisma.$transaction(async (tx) => {
          await work(tx);
          if (isArmed) proxy[fault]();
          isArmed = false;
        });
        await done.finally(() => proxy.heal());
      },
      client: fromPrisma,
    };
    const request = ask();
    const run = patient.run({ ...request, transaction }, async (_claim, tx) => {
      await world.effect(tx, request.key);
      return "done";
    });
    const told = await run.catch(() => "rejected");
    const record = (await patient.find(request))?.record.state;
    expect([told, record, await world.effects(request.key)]).toEqual(outcome);
    await prisma.$disconnect();
    await proxy.close();
  });
});

describe("in a transaction of Prisma", () => {
  it.each([
    ["every byte", Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
    ["no byte", new Uint8Array(0)],
    ["a part of a pool", Buffer.from("the whole and its part").subarray(4, 9)],
    ["a mebibyte", new Uint8Array(2 ** 20).fill(0xfe)],
  ])("%s comes back as it was recorded (S-8)", async (name, result) => {
    const id = `bytes-${name}` as RecordId;
    const claim = { owner: "one" as OwnerToken, ...aClaim };
    await world.prisma.$transaction(async (tx) => {
      const inside = within(tx);
      expect((await inside.claim(id, claim)).kind).toBe("claimed");
      const step = { owner: claim.owner, name: "part", result };
      expect(await inside.step(id, step)).toEqual({ kind: "recorded" });
      expect(await inside.get(id)).toMatchObject({ steps: { part: new Uint8Array(result) } });
      const completion = { owner: claim.owner, result, retentionMs: 60_000 };
      expect(await inside.complete(id, completion)).toEqual({ kind: "recorded" });
      const replay = { kind: "completed", result: new Uint8Array(result) };
      expect(await inside.claim(id, claim)).toMatchObject(replay);
    });
    const record = { state: "completed", result: new Uint8Array(result) };
    expect(await world.store.get(id)).toMatchObject(record);
  });

  it("numbers, instants and absence come back as they are without it", async () => {
    const id = "numbers" as RecordId;
    await world.prisma.$transaction(async (tx) => {
      const inside = within(tx);
      expect(await inside.get(id)).toBeUndefined();
      const claimed = await inside.claim(id, { owner: "one" as OwnerToken, ...aClaim });
      expect(claimed).toMatchObject({ kind: "claimed", attempt: 1, takeover: false });
      const seen = await inside.get(id);
      expect(seen?.expiresAtMs).toBe((seen?.claimedAtMs ?? 0) + aClaim.retentionMs);
      expect(claimed).toMatchObject({ fence: seen?.fence });
      expect([await inside.dismiss(id), await inside.forget(id)]).toEqual([0, true]);
      expect(await inside.list()).not.toMatchObject({ records: [{ id }] });
    });
  });

  it("a COMMIT that the database refuses leaves nothing, and says why", async () => {
    const request = ask();
    const { transaction } = world;
    const refused = engine.run({ ...request, transaction }, async (_claim, tx) => {
      await (tx as Tx).$queryRawUnsafe(
        "INSERT INTO effects (key, note) VALUES ($1, 'n'), ($1, 'n')",
        request.key,
      );
    });
    await expect(refused).rejects.toMatchObject({ cause: { originalCode: "23505" } });
    expect([await engine.find(request), await world.effects(request.key)]).toEqual([undefined, 0]);
  });

  it("a statement that fails unseen commits nothing, and the claim says so", async () => {
    const request = ask();
    const { transaction } = world;
    const run = engine.run({ ...request, transaction }, async (_claim, tx) => {
      await world.effect(tx, request.key);
      await expect((tx as Tx).$queryRawUnsafe("SELECT 1 / 0")).rejects.toThrow("zero");
    });
    expect(await run.catch(codeOf)).toBe("store-unavailable");
    expect([await engine.find(request), await world.effects(request.key)]).toEqual([undefined, 0]);
  });

  it("a nested one that is rolled back takes its claim and its effect with it", async () => {
    const request = ask();
    await world.prisma.$transaction(async (tx) => {
      const nested = tx.$transaction(async (inner) => {
        await engine.with(within(inner)).run(request, () => world.effect(inner, request.key));
        throw new Error("changed my mind");
      });
      await expect(nested).rejects.toThrow("changed my mind");
    });
    expect([await engine.find(request), await world.effects(request.key)]).toEqual([undefined, 0]);
  });

  it("a connection that dies is a store that cannot be used", async () => {
    const request = ask();
    const { transaction } = world;
    const killed = engine.run({ ...request, transaction }, async (_claim, tx) => {
      await world.effect(tx, request.key);
      const [row] = (await (tx as Tx).$queryRawUnsafe("SELECT pg_backend_pid()::int AS pid")) as [
        { readonly pid: number },
      ];
      const text = `SELECT pg_terminate_backend(${row.pid}, 5000)`;
      await world.prisma.$queryRawUnsafe(text);
    });
    expect(await killed.catch(codeOf)).toBe("store-unavailable");
    expect([await engine.find(request), await world.effects(request.key)]).toEqual([undefined, 0]);
  });

  it("a schema that is not there is named as such", async () => {
    const store = postgresStore(world.pool, { schema: "nowhere", sweepEveryMs: false });
    const told = world.prisma.$transaction((tx) => store.within(fromPrisma(tx)).check());
    await expect(told).rejects.toMatchObject({ code: "store-unsuitable" });
    await expect(told).rejects.toThrow(/Run store\.migrate\(\)/);
  });
});

describe("Prisma on SQLite", () => {
  let folder: Awaited<ReturnType<typeof sqliteWorld>>;
  let prisma: Prisma;
  beforeAll(async () => {
    folder = await sqliteWorld();
    prisma = await openOnSqlite(work, folder.path);
  });
  afterAll(async () => {
    await prisma.$disconnect();
    await folder.close();
  });

  it("holds a lock that Node's SQLite does not see in the same process", async () => {
    const ours = new DatabaseSync(folder.path);
    const another = new DatabaseSync(folder.path);
    const rolledBack = prisma.$transaction(async (tx) => {
      await tx.effect.create({ data: { key: "locked" } });
      ours.exec("BEGIN IMMEDIATE"); // two writers at once: the one or the other would be lost
      another.exec("BEGIN IMMEDIATE");
    });
    await expect(rolledBack).rejects.toThrow("database is locked"); // said by Node's own alone
    expect([ours.isTransaction, another.isTransaction]).toEqual([true, false]);
    for (const database of [ours, another]) database.close();
  });

  it.each(["as it is", "through fromPrisma"])("is refused before any work, %s", async (how) => {
    const request = ask();
    const own = createEngine({ store: folder.store });
    const refused = prisma.$transaction(async (tx) => {
      const client = how === "as it is" ? tx : fromPrisma(tx);
      const inside = own.with(folder.store.within?.(client) ?? folder.store);
      await inside.run(request, () => world.effect(tx, request.key));
    });
    await expect(refused).rejects.toThrow(/does not share its locks/);
    expect([await own.find(request), await folder.effects(request.key)]).toEqual([undefined, 0]);
  });
});

describe("the example in the documents", () => {
  it("orders once for its key", async () => {
    layExamples(work, "../same-transaction.md");
    await world.pool.query("CREATE TABLE orders (id text PRIMARY KEY, amount int NOT NULL)");
    const script = `
      import { order } from "./orders.ts";
      const settled = await Promise.allSettled([order("o-1"), order("o-1")]);
      const isDone = settled.some(({ status }) => status === "fulfilled");
      console.log(JSON.stringify([await order("o-1"), isDone]));
      process.exit();`;
    await postgresStore(world.pool, { sweepEveryMs: false }).migrate();
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ["--input-type=module-typescript", "--eval", script],
      { cwd: work, encoding: "utf8", env: { ...process.env, DATABASE_URL: server.url } },
    );
    expect([stderr, stdout]).toEqual(["", '[{"ordered":42},true]\n']);
    const { rows } = await world.pool.query("SELECT * FROM orders");
    expect(rows).toEqual([{ id: "o-1", amount: 42 }]);
  });

  it("compiles with the types of Prisma", () => {
    layExamples(work, "../same-transaction.md");
    expect(typeErrors(work, ["orders.ts"], ["node"])).toBe("");
  });
});
