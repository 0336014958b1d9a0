/** Addresses, headers and durations as typed. Every mistake is one `TypeError` sentence. */
import { validateHeaderName, validateHeaderValue } from "node:http";
import { durationMs } from "../duration.ts";

/** An http or https URL without a password; its fragment is dropped. */
export function addressOf(typed: string): URL {
  const url = URL.canParse(typed) ? new URL(typed) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new TypeError(`URL must start with http:// or https://; got ${JSON.stringify(typed)}.`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new TypeError("URL must not carry a password; send an Authorization header instead.");
  }
  url.hash = "";
  return url;
}

const framing = /^(host|content-length|transfer-encoding|connection|expect|upgrade)$/;

/** A header typed as `'Name: value'` after `flag`; its name is in lower case. */
export function headerOf(line: string, flag: string): readonly [name: string, value: string] {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon)).trim().toLowerCase();
  const value = line.slice(colon + 1).trim();
  if (!isHeader(name, value)) {
    throw new TypeError(`${flag} must be 'Name: value'; ${JSON.stringify(name)} is not.`);
  }
  if (framing.test(name)) throw new TypeError(`${flag} ${name} is set by the command itself.`);
  return [name, value];
}

function isHeader(name: string, value: string): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}

const longestTimeoutMs = 3_600_000;

/** A timeout of at most an hour, typed after `flag`; a bare number is milliseconds. */
export function timeoutOf(typed: string, flag = "--timeout"): number {
  const timeoutMs = durationMs(/^\d+$/.test(typed) ? Number(typed) : typed, flag);
  if (timeoutMs <= longestTimeoutMs) return timeoutMs;
  throw new TypeError(`${flag} must be at most 1h; got ${JSON.stringify(typed)}.`);
}

/** One more value of an option that may be given several times. */
export function append(value: string, values: readonly string[] = []): readonly string[] {
  return [...values, value];
}
