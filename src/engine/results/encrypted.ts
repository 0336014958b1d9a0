/**
 * Encryption of recorded results: AES-256-GCM under a ring of keys. Each record has a key of its
 * own, derived from the ring's, and its bytes are bound to its place: moved to another record,
 * fingerprint or step they do not open. Everything that does not open is locked, never free (B-97).
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  randomBytes,
} from "node:crypto";
import type { KeyObject } from "node:crypto";
import { framed } from "../values/key.ts";
import { unreadable } from "./result-codec.ts";
import type { ResultCodec, ResultPlace } from "./result-codec.ts";

export interface EncryptedOptions {
  /** 32-byte keys by their ids. All of them open; keep one until what it sealed is forgotten. */
  readonly keys: Readonly<Record<string, Uint8Array>>;
  /** Id of the key that seals. */
  readonly current: string;
  /**
   * Read results that were recorded before encryption was switched on. For one retention after
   * that, no longer: while it is true, who can write to the store can forge a result.
   * Default false.
   */
  readonly acceptPlaintext?: boolean;
}

const cipherName = "aes-256-gcm";
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
// Header: the mark, the length of the key's id, the id, the nonce. Then the bytes, then the tag.
const mark = 0xe1;

/**
 * Encrypts results and steps. Throws `TypeError` when a key has not 32 bytes or `current` is not
 * among them.
 */
export function encrypted(options: EncryptedOptions): ResultCodec {
  const ring = ringOf(options);
  const { current, acceptPlaintext = false } = options;
  const currentKey = ring.get(current);
  if (currentKey === undefined) {
    throw new TypeError("encrypted: current must be the id of one of the keys.");
  }
  const name = Buffer.from(current, "latin1");
  return {
    name: "encrypted",
    isLast: true,
    seal: (bytes, place) => {
      // Never injected: a nonce that repeats gives the key away.
      const nonce = randomBytes(nonceBytes);
      const header = Buffer.concat([Uint8Array.of(mark, name.length), name, nonce]);
      const cipher = createCipheriv(cipherName, recordKey(currentKey, place), nonce);
      cipher.setAAD(binding(header, place));
      return Buffer.concat([header, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    },
    open: (stored, place) => {
      if (stored[0] === mark) return decrypt(stored, place, ring);
      if (acceptPlaintext) return stored;
      throw unreadable({ what: "it is not encrypted" });
    },
  };
}

function decrypt(
  stored: Uint8Array,
  place: ResultPlace,
  ring: ReadonlyMap<string, KeyObject>,
): Uint8Array {
  const view = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  const nonceAt = 2 + (view[1] ?? 0);
  const bytesAt = nonceAt + nonceBytes;
  const tagAt = view.length - tagBytes;
  if (tagAt < bytesAt) throw unreadable({ what: "it is torn" });
  const key = ring.get(view.toString("latin1", 2, nonceAt));
  if (key === undefined) throw unreadable({ what: "its key is not in the ring" });
  const nonce = view.subarray(nonceAt, bytesAt);
  const options = { authTagLength: tagBytes };
  const decipher = createDecipheriv(cipherName, recordKey(key, place), nonce, options);
  decipher.setAAD(binding(view.subarray(0, bytesAt), place));
  decipher.setAuthTag(view.subarray(tagAt));
  try {
    return Buffer.concat([decipher.update(view.subarray(bytesAt, tagAt)), decipher.final()]);
  } catch {
    throw unreadable({ what: "it was changed, moved, or sealed with another key" });
  }
}

// Random nonces collide after some billions of results under one key (NIST SP 800-38D, 8.3): a key
// for each record keeps every one of them far from that.
function recordKey(key: KeyObject, { id }: ResultPlace): Buffer {
  return createHmac("sha256", key)
    .update(framed(["latchkey/result-key/1", id]))
    .digest();
}

function binding(header: Uint8Array, { id, fingerprint, part }: ResultPlace): Buffer {
  return framed(["latchkey/result/1", header, id, fingerprint, ...part]);
}

function ringOf({ keys }: EncryptedOptions): ReadonlyMap<string, KeyObject> {
  const ring = new Map<string, KeyObject>();
  for (const [id, key] of Object.entries(keys ?? {})) {
    if (!/^[\x21-\x7e]{1,64}$/.test(id)) {
      throw new TypeError("encrypted: the id of a key must be 1 to 64 visible ASCII characters.");
    }
    if (!(key instanceof Uint8Array) || key.length !== keyBytes) {
      throw new TypeError(
        `encrypted: key ${JSON.stringify(id)} must be a Uint8Array of ${keyBytes} bytes. ` +
          "Make one with: openssl rand -base64 32",
      );
    }
    ring.set(id, createSecretKey(key));
  }
  return ring;
}
