/**
 * Interactive transactions of Prisma as clients of this store, by shape, so that it is no
 * dependency. Not for Prisma on SQLite: it brings a SQLite of its own, whose locks Node's does not
 * see within one process.
 */
import { LatchkeyError } from "../../../errors.ts";
import type { PgClient } from "../client.ts";

/** Prisma: the `tx` of `prisma.$transaction(async (tx) => …)` on a Postgres driver adapter. */
export interface PrismaTransaction {
  $queryRawUnsafe(query: string, ...values: unknown[]): PromiseLike<unknown>;
}

/**
 * The store's client of a Prisma transaction: `store.within(fromPrisma(tx))`. When the transaction
 * has outlived its `timeout` (Prisma's default is 5 s), whatever the store is asked rejects with
 * `lease-lost`: Prisma has rolled back, and the key is free.
 */
export function fromPrisma(transaction: PrismaTransaction): PgClient {
  return {
    query: async (sql, parameters = []) => {
      try {
        const rows = await transaction.$queryRawUnsafe(sql, ...parameters);
        return { rows: rows as readonly unknown[] };
      } catch (error) {
        throw errorOf(error);
      }
    },
  };
}

interface PrismaError extends Error {
  readonly code?: unknown;
  readonly meta?: { readonly driverAdapterError?: { readonly cause?: DriverError } };
}
interface DriverError {
  readonly originalCode?: unknown;
  readonly originalMessage?: unknown;
}

// Its own code says only that a raw query failed; the server's SQLSTATE is further in.
function errorOf(error: unknown): Error {
  if (!(error instanceof Error)) return new Error("Prisma has thrown something that is no error.");
  const { code, meta }: PrismaError = error;
  if (code === "P2028") return ended(error);
  const { originalCode, originalMessage } = meta?.driverAdapterError?.cause ?? {};
  if (typeof originalCode !== "string") return error;
  return Object.assign(new Error(String(originalMessage)), { code: originalCode });
}

function ended(cause: Error): LatchkeyError {
  return new LatchkeyError(
    "lease-lost",
    "The transaction of Prisma had ended before its work was recorded, as when its timeout is " +
      "over. Give $transaction a longer timeout; nothing more can be committed in it.",
    { cause },
  );
}
