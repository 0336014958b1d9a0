/** What a request is compared by: its target, media type and content, as the options say. */
import { fingerprintOf } from "../engine/values/fingerprint.ts";
import type { Content } from "../engine/values/fingerprint.ts";
import type { FingerprintOptions } from "./policy.ts";

/** A request as the fingerprint sees it. */
export interface Asked {
  readonly target: string;
  readonly mediaType: string;
  readonly content: Content;
}

/** The fingerprint of a request; `undefined` when its JSON is nested too deeply to compare. */
export function requestFingerprint(
  { target, mediaType, content }: Asked,
  options: FingerprintOptions,
): ReturnType<typeof fingerprintOf> | undefined {
  const labels = [targetOf(target, options), mediaType.trim().toLowerCase()];
  try {
    return fingerprintOf(labels, withoutIgnored(content, options.ignoreFields ?? []));
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return undefined;
    throw error;
  }
}

function targetOf(target: string, { query = "ordered" }: FingerprintOptions): string {
  const [path = "", ...rest] = target.split("?");
  if (query === "ordered" || rest.length === 0) return target;
  return `${path}?${rest.join("?").split("&").toSorted().join("&")}`;
}

function withoutIgnored(content: Content, ignored: readonly string[]): Content {
  if (ignored.length === 0 || content.kind !== "json") return content;
  const { value } = content;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return content;
  const counted = Object.entries(value).filter(([name]) => !ignored.includes(name));
  return { kind: "json", value: Object.fromEntries(counted) };
}

/**
 * A body by its media type: JSON by value, everything else (and JSON that cannot be parsed) by its
 * bytes (B-62).
 */
export function contentOfBytes(
  bytes: Uint8Array | undefined,
  mediaType: string,
  { json = "value" }: FingerprintOptions = {},
): Content {
  if (bytes === undefined) return { kind: "none" };
  if (bytes.length === 0 || json === "bytes" || !isJson(mediaType)) return { kind: "bytes", bytes };
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return { kind: "json", value: JSON.parse(text) };
  } catch {
    return { kind: "bytes", bytes };
  }
}

function isJson(mediaType: string): boolean {
  return /^application\/(?:[\w.!#$&^-]+\+)?json\s*(?:;|$)/i.test(mediaType.trim());
}
