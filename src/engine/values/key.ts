/**
 * Keys and the names made from them: what a key may look like, the record id, and keys derived for
 * downstream calls.
 */
import { hash } from "node:crypto";
import { LatchkeyError } from "../../errors.ts";
import type { RecordId } from "../../machine/record.ts";

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

/** SHA-256 over the length-framed parts, so that no value can forge another record (B-14). */
export function recordId(scope: string, operation: string, key: string): RecordId {
  return digest(["latchkey/1", scope, operation, key]) as RecordId;
}

/** A stable key for a downstream call: the same for every attempt of the same record. */
export function derivedKey(id: RecordId, name: string): string {
  return digest(["latchkey/derived/1", id, name]);
}

/** Base64url SHA-256 of strings and bytes, each behind its length. */
export function digest(parts: readonly (string | Uint8Array)[]): string {
  const framed: Uint8Array[] = [];
  for (const part of parts) {
    const bytes = typeof part === "string" ? Buffer.from(part, "utf8") : part;
    framed.push(Buffer.from(`${typeof part === "string" ? "s" : "b"}${bytes.length}:`), bytes);
  }
  return hash("sha256", Buffer.concat(framed), "base64url");
}
