/** Recorded results in words, and, only when asked for, as what they are. */
import { decodeEnvelope } from "../../engine/values/codec.ts";
import type { Envelope } from "../../engine/values/codec.ts";
import type { HeaderList } from "../../http/answer.ts";
import { acceptable } from "../../http/recording/encoding.ts";
import { isReadable } from "./at-rest.ts";
import { plainText } from "../terminal.ts";

interface Shown {
  readonly kind: Envelope["kind"];
  readonly status?: number;
  readonly headers?: HeaderList;
  /** The body or value as text, or as base64 where it is none. */
  readonly text?: string;
  readonly base64?: string;
}

/** A result in words, without a byte of it. */
export function describeResult(result: Uint8Array): string {
  if (!isReadable(result)) return "not to be read here (is LATCHKEY_RESULT_KEYS missing?)";
  const { kind, head, body } = decodeEnvelope(result);
  const { status } = (head ?? {}) as Shown;
  switch (kind) {
    case "http":
      return `an HTTP response, status ${status}, ${body.length} bytes (--result shows it)`;
    case "json":
      return `a value, ${body.length} bytes of JSON (--result shows it)`;
    case "bytes":
      return `${body.length} bytes (--result shows them)`;
    case "undefined":
      return "nothing (undefined)";
    case "omitted":
      return "not kept: retries get result-omitted";
    case "failed":
      return `failed: retries get failed${status === undefined ? "" : `, status ${status}`}`;
  }
}

/** A result as it is, decompressed; for JSON. */
export function shownResult(result: Uint8Array): Shown {
  const { kind, head, body } = decodeEnvelope(result);
  const { status, headers = [] } = (head ?? {}) as Shown;
  if (kind === "http" && status !== undefined) {
    const answer = acceptable({ status, headers, body }, []);
    return { kind, status, headers: answer.headers, ...contentOf(answer.body) };
  }
  if (kind === "json" || kind === "bytes") return { kind, ...contentOf(body) };
  return status === undefined ? { kind } : { kind, status };
}

/** A result as it is, for people: status line, headers, body. */
export function resultText(result: Uint8Array): string {
  const { status, headers = [], text, base64 } = shownResult(result);
  const head = [
    ...(status === undefined ? [] : [`status ${status}`]),
    ...headers.map(([name, value]) => plainText(`${name}: ${value}`)),
  ];
  const body = base64 === undefined ? printable(text ?? "") : `base64 ${base64}`;
  if (head.length === 0 || body === "") return `${head.join("\n")}${body}\n`;
  return `${head.join("\n")}\n\n${body}\n`;
}

function contentOf(bytes: Uint8Array): Pick<Shown, "text" | "base64"> {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch {
    return { base64: Buffer.from(bytes).toString("base64") };
  }
}

// Lines and tabs stay; what else steers a terminal does not reach it.
function printable(text: string): string {
  return text.replace(/[^\n\t\P{Cc}]|\p{Cf}/gu, "?").trimEnd();
}
