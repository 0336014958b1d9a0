/**
 * The operator's word on a record of an HTTP route: the response that retries get from now on. The
 * door `latchkey/operators`.
 */
import type { Duration } from "../../duration.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Target } from "../../engine/operators/operator.ts";
import type { HeaderList } from "../answer.ts";
import { encodeAnswer, encodeFailure } from "../recorded.ts";

/** What became of a request in doubt, and what its retries are answered with. */
export interface ResponseWord {
  /** `failed` needs no response: its retries get a problem document with the code `failed`. */
  readonly outcome: "completed" | "failed";
  /** 200 to 599; from 400 for what failed. Default 500 for what failed, else required. */
  readonly status?: number;
  /** Header lines in order, or an object of them. Exactly these are replayed. Default none. */
  readonly headers?: HeaderList | Readonly<Record<string, string>>;
  /** Default empty; text is sent as UTF-8. */
  readonly body?: Uint8Array | string;
  /** Who says so: 1 to 200 characters, kept with the record. */
  readonly by: string;
  /** How it was found out: 1 to 1000 characters, kept with the record, never shown to clients. */
  readonly note: string;
  /** The attempt that was looked into; the record is left alone after another one. */
  readonly attempt?: number;
  /** How long retries get this, from now. Default: the engine's `retention`. */
  readonly retention?: Duration;
}

/**
 * Resolves the record of an HTTP request like `engine.resolve`, with a response: every retry of the
 * same request gets exactly that, marked as a replay. Rejects with `TypeError` on a response that
 * could not be sent.
 */
export async function resolveWithResponse(
  engine: Pick<Engine, "resolve">,
  target: Target,
  { status, headers, body, ...word }: ResponseWord,
): Promise<"resolved" | "not-in-doubt"> {
  return engine.resolve(target, { ...word, result: resultOf({ status, headers, body, ...word }) });
}

type Given = Pick<ResponseWord, "outcome"> & {
  readonly [Name in "status" | "headers" | "body"]: ResponseWord[Name] | undefined;
};

function resultOf({ outcome, status: given, headers = [], body }: Given): Uint8Array {
  const lines = linesOf(headers);
  const status = statusOf(outcome, given);
  if (outcome === "failed" && body === undefined && lines.length === 0) {
    return encodeFailure(status);
  }
  const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : (body ?? Buffer.alloc(0));
  if (bytes.length > 0 && /^(?:204|205|304)$/.test(String(status))) {
    throw new TypeError(`A response with status ${status} has no body.`);
  }
  const names = lines.map(([name]) => name);
  return encodeAnswer({ status, headers: lines, body: bytes }, names);
}

function statusOf(outcome: ResponseWord["outcome"], given: number | undefined): number {
  const [least, status] = outcome === "failed" ? [400, given ?? 500] : [200, given];
  if (status !== undefined && Number.isInteger(status) && status >= least && status <= 599) {
    return status;
  }
  throw new TypeError(`status must be ${least} to 599 for what ${outcome}; got ${String(status)}.`);
}

// Framing and what belongs to one exchange is set anew each time; cookies and credentials are
// never replayed (B-29, B-30).
const unfit =
  /^(?:set-cookie|.*authenticate|.*authorization|content-(?:length|range)|date|retry-after)$/;
const hopByHop = /^(?:connection|keep-alive|upgrade|trailer|transfer-encoding|age|via)$/;

function linesOf(headers: NonNullable<ResponseWord["headers"]>): HeaderList {
  const lines: HeaderList = isList(headers) ? headers : Object.entries(headers);
  return lines.map(([name, value]) => {
    const lower = name.trim().toLowerCase();
    if (unfit.test(lower) || hopByHop.test(lower))
      throw new TypeError(`The header ${lower} is never replayed.`);
    if (!isHeader(lower, value)) {
      throw new TypeError(`The header ${JSON.stringify(lower)} cannot be sent.`);
    }
    return [lower, value] as const;
  });
}

function isList(headers: NonNullable<ResponseWord["headers"]>): headers is HeaderList {
  return Array.isArray(headers);
}

function isHeader(name: string, value: unknown): boolean {
  try {
    return new Headers([[name, String(value)]]).has(name) && typeof value === "string";
  } catch {
    return false;
  }
}
