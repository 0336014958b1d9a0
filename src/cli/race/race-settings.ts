/** Turns what was typed into checked race settings. Every mistake is one `TypeError` sentence. */
import { addressOf, headerOf, timeoutOf } from "../address.ts";
import { otherBodyOf } from "./other-body.ts";
import type { RaceSettings } from "./plan.ts";

/** The options as typed. */
export interface RaceOptions {
  readonly n: string;
  readonly method: string;
  readonly data?: string;
  readonly otherData?: string;
  readonly header?: readonly string[];
  readonly key?: string;
  readonly rounds: string;
  readonly timeout: string;
}

/** The checked settings; throws `TypeError` for the first mistake found. */
export function raceSettingsOf(address: string, options: RaceOptions): RaceSettings {
  const url = addressOf(address);
  const method = methodOf(options.method);
  const bodyless = method === "GET" || method === "HEAD";
  if (bodyless && options.data !== undefined) {
    throw new TypeError(`--data cannot be sent with ${method}.`);
  }
  const { data, otherData = otherBodyOf(data) } = options;
  if (data === otherData) throw new TypeError("--other-data must differ from --data.");
  return {
    url,
    method,
    headers: headersOf(options.header ?? []),
    body: data === undefined ? undefined : Buffer.from(data),
    otherBody: bodyless ? undefined : Buffer.from(otherData),
    key: keyOf(options.key),
    count: numberOf(options.n, "-n", 1000),
    rounds: numberOf(options.rounds, "--rounds", 1000),
    timeoutMs: timeoutOf(options.timeout),
  };
}

function methodOf(text: string): string {
  const method = text.toUpperCase();
  if (/^[A-Z]{1,20}$/.test(method) && !/^(CONNECT|TRACE)$/.test(method)) return method;
  throw new TypeError(`--method must be a method such as POST; got ${JSON.stringify(text)}.`);
}

function headersOf(lines: readonly string[]): Readonly<Record<string, readonly string[]>> {
  const headers: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (const line of lines) {
    const [name, value] = headerOf(line, "--header");
    if (name === "idempotency-key") throw new TypeError("Send the key with --key.");
    headers[name] = [...(headers[name] ?? []), value];
  }
  return headers;
}

function keyOf(key: string | undefined): string | undefined {
  if (key === undefined || /^[\x21-\x7e]{1,255}$/.test(key)) return key;
  throw new TypeError("--key must be 1 to 255 visible ASCII characters.");
}

function numberOf(text: string, name: string, most: number): number {
  const number = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= 1 && number <= most) return number;
  throw new TypeError(`${name} must be a number from 1 to ${most}; got ${JSON.stringify(text)}.`);
}
