/**
 * An operator's word on a record in doubt: checked here, and turned into the store's command with
 * the result that retries get.
 */
import { durationMs } from "../../duration.ts";
import type { Duration } from "../../duration.ts";
import type { ResolveCommand } from "../../machine/record.ts";
import { decodeEnvelope, encodeEnvelope, encodeValue } from "../values/codec.ts";

interface Signed {
  /** Who says so: 1 to 200 characters, kept with the record. */
  readonly by: string;
  /** How it was found out: 1 to 1000 characters, kept with the record, never shown to clients. */
  readonly note: string;
  /**
   * The attempt that was looked into. A record that has gone through another one since is left
   * alone, in the same step of the store. Default: whichever is found.
   */
  readonly attempt?: number;
}
interface Final extends Signed {
  /** How long retries get this, from now. Default: the engine's `retention`. */
  readonly retention?: Duration;
}

/**
 * What an operator found out. `not-executed` frees the key for the same input; `completed` lets
 * retries have `value` (without one they get `result-omitted`); `failed` refuses every retry with
 * `failed`. After the latter two the work never runs again.
 */
export type Word =
  | (Signed & { readonly outcome: "not-executed" })
  | (Final & { readonly outcome: "completed"; readonly value?: unknown })
  | (Final & {
      readonly outcome: "completed" | "failed";
      /** For what wraps the engine: a recorded result, as `latchkey/operators` makes it. */
      readonly result?: Uint8Array;
    });

/** What the store is told; without an attempt it is that of the record that was found. */
export type Said = Omit<ResolveCommand, "kind" | "attempt"> & { readonly attempt?: number };

/** What the store is told. Throws `TypeError` on a word that is not whole. */
export function commandOf(word: Word, retentionMs: number): Said {
  const signed = {
    by: textOf("by", word.by, 200),
    note: textOf("note", word.note, 1000),
    ...attemptOf(word),
  };
  if (word.outcome === "not-executed") {
    for (const name of ["value", "result", "retention"]) {
      if (name in word) throw new TypeError(`What was not executed has no ${name}.`);
    }
    return { ...signed, outcome: { kind: "not-executed" } };
  }
  if (word.outcome !== "completed" && word.outcome !== "failed") {
    const got = JSON.stringify((word as { outcome?: unknown }).outcome);
    throw new TypeError(`outcome must be "not-executed", "completed" or "failed"; got ${got}.`);
  }
  const keptMs =
    word.retention === undefined ? retentionMs : durationMs(word.retention, "retention");
  const outcome = { kind: word.outcome, result: resultOf(word), retentionMs: keptMs };
  return { ...signed, outcome };
}

function resultOf(word: Exclude<Word, { readonly outcome: "not-executed" }>): Uint8Array {
  if ("result" in word && word.result !== undefined) return checkResult(word.result);
  if (word.outcome === "failed") {
    if ("value" in word) throw new TypeError("What failed has no value.");
    return encodeEnvelope("failed", undefined);
  }
  if (!("value" in word)) return encodeEnvelope("omitted", { reason: "unknown to the operator" });
  const result = encodeValue(word.value);
  if (decodeEnvelope(result).kind !== "omitted") return result;
  throw new TypeError("value must be what JSON can say, or bytes. Leave it out if it is unknown.");
}

// What could not be read again must not be recorded.
function checkResult(result: Uint8Array): Uint8Array {
  try {
    decodeEnvelope(result);
    return result;
  } catch (cause) {
    const message =
      "result must be a recorded result, as `latchkey/operators` makes of a response.";
    throw new TypeError(message, { cause });
  }
}

function textOf(name: string, text: unknown, most: number): string {
  const length = typeof text === "string" && text.trim() !== "" ? text.length : 0;
  if (typeof text === "string" && length >= 1 && length <= most) return text;
  throw new TypeError(`${name} must be a text of 1 to ${most} characters.`);
}

function attemptOf({ attempt }: Word): Pick<Said, "attempt"> {
  if (attempt === undefined) return {};
  if (Number.isSafeInteger(attempt) && attempt >= 1) return { attempt };
  throw new TypeError(`attempt must be a whole number from 1; got ${String(attempt)}.`);
}
