/** Turns what was typed into checked settings. Every mistake is one `TypeError` sentence. */
import { isIPv4 } from "node:net";
import type { Callers } from "../../conformance/http/subject.ts";
import { rulesOf } from "../../conformance/http/verify.ts";
import type { Placed } from "../../conformance/http/verify.ts";
import { addressOf, headerOf, timeoutOf } from "../address.ts";

/** The options as typed. */
export interface VerifyOptions {
  readonly as?: readonly string[];
  readonly rotated?: string;
  readonly revoked?: string;
  readonly only?: string;
  readonly timeout: string;
  readonly within: string;
  readonly allowRemote?: true;
}

export interface VerifySettings {
  readonly url: URL;
  readonly callers: Callers;
  readonly rules: readonly Placed[];
  readonly timeoutMs: number;
  readonly withinMs: number;
}

/** The checked settings; throws `TypeError` for the first mistake found. */
export function verifySettingsOf(typed: string, options: VerifyOptions): VerifySettings {
  const url = addressOf(typed);
  if (url.search !== "") {
    throw new TypeError("URL must not have a query: the rules about queries bring their own.");
  }
  if (options.allowRemote !== true && !isLoopback(url.hostname)) {
    throw new TypeError(
      `${url.hostname} is not this machine, and up to a hundred requests are sent to it at once. ` +
        "Add --allow-remote if it is a test system of yours.",
    );
  }
  return {
    url,
    callers: callersOf(options),
    rules: chosen(options.only),
    timeoutMs: timeoutOf(options.timeout),
    withinMs: timeoutOf(options.within, "--within"),
  };
}

function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (isIPv4(host)) return host.startsWith("127.");
  return host === "::1" || host === "localhost" || host.endsWith(".localhost");
}

function callersOf({ as = [], rotated, revoked }: VerifyOptions): Callers {
  if (as.length > 2) throw new TypeError("--as names two callers at most.");
  const [first, other] = as.map((line) => [headerOf(line, "--as")] as const);
  return {
    first: first ?? [],
    ...(other === undefined ? {} : { other }),
    ...(rotated === undefined ? {} : { rotated: [headerOf(rotated, "--rotated")] }),
    ...(revoked === undefined ? {} : { revoked: [headerOf(revoked, "--revoked")] }),
  };
}

/** The chosen rules in their order; those that no client sees are left out. */
function chosen(typed: string | undefined): readonly Placed[] {
  const all = rulesOf().filter(({ rule }) => rule.kind === "http");
  if (typed === undefined) return all;
  const asked = typed.split(",").map((one) => one.trim().toUpperCase());
  const unknown = asked.find((one) => all.every(({ rule }) => rule.rule !== one));
  if (unknown === undefined) return all.filter(({ rule }) => asked.includes(rule.rule));
  throw new TypeError(
    `--only takes numbers such as B-26,B-43; ${JSON.stringify(unknown)} is no rule that a URL ` +
      "shows. See --list.",
  );
}
