/**
 * Stores whose insides a test may look at: every byte that was handed to them, and every byte that
 * lies in the SQLite file or in a real Redis.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { inspect } from "node:util";
import { Redis } from "ioredis";
import { memoryStore } from "../../src/stores/memory.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import { sqliteStore } from "../../src/stores/sqlite/sqlite-store.ts";
import type { Store } from "../../src/stores/store.ts";
import { startRedis } from "./redis-server.ts";

export interface RestingPlace {
  readonly store: Store;
  /** All that was ever handed to the store, and all that lies in it now. */
  readonly bytes: () => Promise<Buffer>;
  /** Puts one record's stored form in the place of another's, behind the store's back. */
  readonly move?: (from: string, to: string) => Promise<void>;
  readonly close: () => Promise<void>;
}

async function memoryPlace(): Promise<RestingPlace> {
  const { store, handed } = spied(memoryStore());
  return { store, bytes: async () => Buffer.concat(handed), close: () => store.close() };
}

async function sqlitePlace(): Promise<RestingPlace> {
  const folder = mkdtempSync(join(tmpdir(), "latchkey-results-"));
  const path = join(folder, "records.db");
  const { store, handed } = spied(sqliteStore(path));
  const files = () => readdirSync(folder).map((name) => readFileSync(join(folder, name)));
  return {
    store,
    bytes: async () => Buffer.concat([...handed, ...files()]),
    move: async (from, to) => {
      const database = new DatabaseSync(path, { timeout: 3000 });
      const move =
        "UPDATE latchkey_records SET fields = other.fields, result = other.result " +
        "FROM (SELECT * FROM latchkey_records WHERE id = ?) AS other WHERE latchkey_records.id = ?";
      const { changes } = database.prepare(move).run(from, to);
      database.close();
      if (Number(changes) !== 1) throw new Error("No record was moved.");
    },
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
}

async function redisPlace(): Promise<RestingPlace> {
  const server = await startRedis();
  const redis = new Redis(server.port, "127.0.0.1");
  const { store, handed } = spied(redisStore(redis));
  const everything = async (): Promise<Buffer[]> => {
    const names = await redis.keys("*");
    const all = names.map(async (name) => {
      const type = await redis.type(name);
      const value = type === "string" ? await redis.getBuffer(name) : null;
      return [Buffer.from(name), await redis.dumpBuffer(name), value ?? Buffer.alloc(0)];
    });
    return (await Promise.all(all)).flat().filter((part) => part !== null);
  };
  return {
    store,
    bytes: async () => Buffer.concat([...handed, ...(await everything())]),
    move: async (from, to) => {
      const moved = await redis.copy(`latchkey:${from}`, `latchkey:${to}`, "REPLACE");
      if (moved !== 1) throw new Error("No record was moved.");
    },
    close: async () => {
      redis.disconnect();
      await server.stop();
    },
  };
}

export const restingPlaces: readonly (readonly [string, () => Promise<RestingPlace>])[] = [
  ["memory", memoryPlace],
  ["SQLite", sqlitePlace],
  ["Redis", redisPlace],
];

/** The store, and a copy of every argument that its methods get. */
function spied(store: Store): { readonly store: Store; readonly handed: Buffer[] } {
  const handed: Buffer[] = [];
  const keep = (value: unknown): void => {
    if (value instanceof Uint8Array) handed.push(Buffer.from(value));
    else if (typeof value === "object" && value !== null) Object.values(value).forEach(keep);
    else handed.push(Buffer.from(String(value)));
  };
  const spy = new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        args.forEach(keep);
        return Reflect.apply(member, target, args);
      };
    },
  });
  return { store: spy, handed };
}

/** Canaries: words that no other text contains, and a search for any piece of them. */
export function piecesFound(haystack: Buffer, canary: string): readonly string[] {
  const pieces = Array.from({ length: canary.length - 7 }, (_, at) => canary.slice(at, at + 8));
  const disguised = [canary, ...[0, 1, 2].map((pad) => " ".repeat(pad) + canary)].flatMap(
    (text) => {
      const bytes = Buffer.from(text);
      const encoded = [
        bytes.toString("hex"),
        bytes.toString("base64"),
        bytes.toString("base64url"),
      ];
      return encoded.map((one) => one.slice(4, -4));
    },
  );
  return [...pieces, ...disguised].filter((piece) => haystack.includes(piece));
}

/** Everything that a log would show of a value, and more. */
export function shown(value: unknown): Buffer {
  return Buffer.from(inspect(value, { depth: Infinity, showHidden: true, maxStringLength: null }));
}
