/**
 * Prisma as its users have it: clients generated from the schemas beside this file, on its own
 * driver adapters. It is installed in this folder alone, so its types are named by shape.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { Transactions } from "../../../src/engine/transaction/transactions.ts";
import { fromPrisma } from "../../../src/stores/postgres/postgres-store.ts";
import type { PrismaTransaction } from "../../../src/stores/postgres/postgres-store.ts";
import { pgWorld } from "../../support/transactions.ts";
import { commandOf, folderOf, layFiles } from "../support/lay.ts";

/** What the tests use of a transaction. */
export interface Tx extends PrismaTransaction {
  readonly effect: { create(args: { readonly data: { readonly key: string } }): Promise<unknown> };
  $transaction<T>(work: (nested: Tx) => Promise<T>): Promise<T>;
}

/** What the tests use of a client. */
export interface Prisma extends Omit<Tx, "$transaction"> {
  $transaction<T>(
    work: (tx: Tx) => Promise<T>,
    options?: { readonly timeout?: number; readonly maxWait?: number },
  ): Promise<T>;
  $executeRawUnsafe(query: string): Promise<number>;
  $disconnect(): Promise<void>;
}

/** Generates the clients of all schemas into a work folder. */
export function generateClients(work: string): void {
  for (const name of ["postgres", "sqlite"]) {
    layFiles(work, [`prisma/${name}.prisma`]);
    const args = ["generate", "--schema", `prisma/${name}.prisma`];
    // Looked for, and downloaded where it is missing, yet of no use here: any program will do.
    const engine = { PRISMA_SCHEMA_ENGINE_BINARY: process.execPath };
    const env = { ...process.env, ...engine, CHECKPOINT_DISABLE: "1" };
    const options = { cwd: work, encoding: "utf8", env } as const;
    const command = commandOf("prisma", "prisma");
    const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], options);
    if (status !== 0) throw new Error(`prisma ${args.join(" ")}:\n${stdout}${stderr}`);
  }
}

const installed = (name: string): string => join(folderOf("prisma"), "node_modules", name);

/** A client on a Postgres. */
export async function openOnPostgres(work: string, url: string): Promise<Prisma> {
  const { PrismaPg } = await load(installed("@prisma/adapter-pg/dist/index.mjs"));
  const adapter = new (PrismaPg as Constructor<unknown>)({ connectionString: url });
  return clientIn(join(work, "generated/prisma"), adapter);
}

/** A client on a SQLite file, through libSQL's own SQLite. */
export async function openOnSqlite(work: string, path: string): Promise<Prisma> {
  const { PrismaLibSql } = await load(installed("@prisma/adapter-libsql/dist/index-node.mjs"));
  const adapter = new (PrismaLibSql as Constructor<unknown>)({ url: `file:${path}` });
  return clientIn(join(work, "generated/sqlite"), adapter);
}

async function clientIn(folder: string, adapter: unknown): Promise<Prisma> {
  const { PrismaClient } = await load(join(folder, "client.ts"));
  return new (PrismaClient as Constructor<Prisma>)({ adapter });
}

type Constructor<T> = new (options: object) => T;

// Named by a path, so that nothing looks for it where it is not installed.
async function load(path: string): Promise<Readonly<Record<string, unknown>>> {
  return (await import(path)) as Readonly<Record<string, unknown>>;
}

type PgWorld = Awaited<ReturnType<typeof pgWorld>>;
export interface PrismaWorld extends PgWorld {
  readonly prisma: Prisma;
}

/** The store and the effects on a Postgres, the effects written by Prisma. */
export async function prismaWorld(work: string, url: string): Promise<PrismaWorld> {
  const world = await pgWorld({ url });
  const prisma = await openOnPostgres(work, url);
  const transaction: Transactions<Tx> = {
    begin: (work) => prisma.$transaction(work),
    client: fromPrisma,
  };
  return {
    ...world,
    prisma,
    transaction,
    outside: fromPrisma(prisma),
    effect: async (tx, key) => void (await (tx as Tx).effect.create({ data: { key } })),
    close: async () => {
      await prisma.$disconnect();
      await world.close();
    },
  };
}
