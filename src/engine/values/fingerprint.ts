/**
 * Fingerprints: SHA-256 over what was asked. JSON counts by value (keys sorted, no white space),
 * everything else by its bytes. Taken before the handler runs, so that a handler that changes its
 * input cannot change them.
 */
import type { Fingerprint } from "../../machine/record.ts";
import { digestOf } from "./key.ts";

const deepestLevel = 500;

/**
 * A body as it counts: nothing at all, bytes, or a JSON value. The three never share a fingerprint
 * (B-65).
 */
export type Content =
  | { readonly kind: "none" }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "json"; readonly value: unknown };

/** Fingerprint of a content under its labels (for HTTP: target and media type). */
export function fingerprintOf(labels: readonly string[], content: Content): Fingerprint {
  const body = content.kind === "bytes" ? content.bytes : contentText(content);
  return digestOf(["latchkey/fingerprint/1", ...labels, content.kind, body]) as Fingerprint;
}

function contentText(content: Exclude<Content, { kind: "bytes" }>): string {
  return content.kind === "none" ? "" : canonicalJson(content.value);
}

/**
 * JSON with sorted keys and no white space; throws `RangeError` over 500 levels and `TypeError` on
 * what JSON cannot say.
 */
export function canonicalJson(value: unknown, level = 0): string {
  if (level > deepestLevel)
    throw new RangeError(`JSON is nested over ${deepestLevel} levels deep.`);
  if (typeof value !== "object" || value === null) return primitive(value);
  if (hasToJson(value)) return canonicalJson(value.toJSON(), level + 1);
  if (Array.isArray(value)) {
    return `[${Array.from(value, (item) => canonicalJson(item ?? null, level + 1)).join()}]`;
  }
  if (isOpaque(value)) throw unsayable(nameOf(value));
  const members: string[] = [];
  for (const [name, member] of Object.entries(value).sort(byName)) {
    if (member !== undefined) {
      members.push(`${JSON.stringify(name)}:${canonicalJson(member, level + 1)}`);
    }
  }
  return `{${members.join()}}`;
}

function primitive(value: unknown): string {
  const sayable = typeof value !== "number" || Number.isFinite(value);
  const text = sayable && typeof value !== "bigint" ? JSON.stringify(value) : undefined;
  if (text === undefined) throw unsayable(sayable ? typeof value : String(value));
  return text;
}

// JSON says {} of a Map, an ArrayBuffer, a Blob, or an object of a class that keeps its fields to
// itself, whatever is in it. A plain object may come from another realm.
function isOpaque(value: object): boolean {
  if (Object.keys(value).length > 0) return value instanceof Map || value instanceof Set;
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
  return !isPlain && !(value instanceof Uint8Array);
}

function nameOf(value: object): string {
  return value.constructor?.name || "nameless object";
}

// What JSON would turn into {} or null must not make two inputs look alike.
function unsayable(what: string): TypeError {
  return new TypeError(
    `JSON cannot say a value of the kind ${what}: it has no fingerprint. Pass plain data or bytes.`,
  );
}

function hasToJson(value: object): value is { toJSON(): unknown } {
  return "toJSON" in value && typeof value.toJSON === "function";
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : Number(a > b);
}
