/**
 * Keys and the names made from them: what a key may look like, the record id, and keys derived for
 * downstream calls.
 */
import { createHmac, createSecretKey, hash } from "node:crypto";
import { LatchkeyError } from "../../errors.ts";
import type { Fingerprint, RecordId } from "../../machine/record.ts";

const leastSecretBytes = 32;
// 192 of the 256 bits: every record keeps its name and its fingerprint, often in memory, and nobody
// finds two alike (that takes 2^96 tries, and one like another customer's 2^192).
const storedChars = 32;

/**
 * Throws `key-invalid` unless the key is 1–255 visible ASCII characters (spaces inside a quoted
 * key included).
 */
export function checkKey(key: string): string {
  if (typeof key === "string" && /^[\x20-\x7e]{1,255}$/.test(key) && key.trim() !== "") return key;
  throw new LatchkeyError(
    "key-invalid",
    "The idempotency key is not 1 to 255 visible ASCII characters. Send a UUID, for example.",
  );
}

/**
 * Throws `TypeError` unless the scope is a text that is not empty: what yields nothing must never
 * share a key space with everybody (B-101).
 */
export function checkScope(scope: unknown): string {
  if (typeof scope === "string" && scope !== "") return scope;
  const got = scope === "" ? "an empty text" : typeof scope;
  throw new TypeError(
    `A scope says whose key it is; got ${got}. Return a text such as the id of the user, or ` +
      'leave scope out for "public".',
  );
}

/** How an engine names records and intents: by digests alone, so that a store learns no key. */
export interface Names {
  /** Over the length-framed parts, so that no value can forge another record (B-14). */
  readonly recordId: (scope: string, operation: string, key: string) => RecordId;
  /** What the store keeps of a fingerprint. */
  readonly fingerprint: (asked: Fingerprint) => Fingerprint;
  /** A stable key for a downstream call: the same for every attempt of the same record. */
  readonly derivedKey: (id: RecordId, name: string) => string;
}

/**
 * SHA-256 by default; HMAC-SHA-256 under a secret, so that whoever reads the store cannot try keys
 * and bodies out. Throws `TypeError` for a secret of less than 32 bytes.
 */
export function namesOf(secret?: string | Uint8Array): Names {
  const digest = secret === undefined ? digestOf : keyedDigest(secret);
  return {
    recordId: (...parts) => stored(digest(["latchkey/1", ...parts])) as RecordId,
    fingerprint: (asked) => {
      const digested = secret === undefined ? asked : digest(["latchkey/asked/1", asked]);
      return stored(digested) as Fingerprint;
    },
    derivedKey: (id, name) => digest(["latchkey/derived/1", id, name]),
  };
}

function stored(digest: string): string {
  return digest.slice(0, storedChars);
}

/** Base64url SHA-256 of strings and bytes, each behind its length. */
export function digestOf(parts: readonly (string | Uint8Array)[]): string {
  return hash("sha256", framed(parts), "base64url");
}

/** Strings and bytes in one row, each behind its length: no two lists of parts make the same. */
export function framed(parts: readonly (string | Uint8Array)[]): Buffer {
  const all: Uint8Array[] = [];
  for (const part of parts) {
    const bytes = typeof part === "string" ? Buffer.from(part, "utf8") : part;
    all.push(Buffer.from(`${typeof part === "string" ? "s" : "b"}${bytes.length}:`), bytes);
  }
  return Buffer.concat(all);
}

function keyedDigest(secret: string | Uint8Array): typeof digestOf {
  const bytes = typeof secret === "string" ? Buffer.from(secret, "utf8") : secret;
  if (!(bytes instanceof Uint8Array) || bytes.length < leastSecretBytes) {
    throw new TypeError(
      `secret must be a string or a Uint8Array of at least ${leastSecretBytes} bytes. Make one ` +
        "with: openssl rand -base64 32",
    );
  }
  const key = createSecretKey(bytes);
  return (parts) => createHmac("sha256", key).update(framed(parts)).digest("base64url");
}
