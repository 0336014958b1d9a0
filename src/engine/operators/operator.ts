/**
 * What an operator asks of an engine: to find the record of a key, and to say what became of a
 * record in doubt. Lists, notes and sweeping are the store's own.
 */
import type { RecordId, StoredRecord } from "../../machine/record.ts";
import type { BeginContext } from "../begin.ts";
import { persist } from "../store-call.ts";
import { openedRecord } from "../results/result-codec.ts";
import type { ResultCodec } from "../results/result-codec.ts";
import { checkKey } from "../values/key.ts";
import { commandOf } from "./word.ts";
import type { Said, Word } from "./word.ts";

/** A record by its id, or by what it belongs to; `scope` defaults to `"public"`. */
export type Target =
  | string
  | { readonly operation: string; readonly scope?: string; readonly key: string };

export interface FoundRecord {
  readonly id: RecordId;
  readonly record: StoredRecord;
}

export interface Operator {
  /**
   * The record of a key (or id) as it stands, its results opened; `undefined` when there is none.
   * Rejects with `key-invalid`, `store-unavailable` or `store-corrupt`.
   */
  find(target: Target): Promise<FoundRecord | undefined>;
  /**
   * Says what became of a record in doubt, for good: of several at once exactly one is heard.
   * Resolves to `not-in-doubt`, with nothing written, where there is nothing (or nothing any more)
   * to say. Rejects with `TypeError` on a word without `by` and `note`, and like `find`.
   */
  resolve(target: Target, word: Word): Promise<"resolved" | "not-in-doubt">;
}

/** The operator's side of an engine. */
export function createOperator(lent: BeginContext): Operator {
  const { store, runtime, events, waiting, results, storeTimeoutMs } = lent;

  function ask<T>(call: () => Promise<T>, onFailure: () => void = () => undefined): Promise<T> {
    const patience = { limitMs: storeTimeoutMs, patienceMs: storeTimeoutMs };
    return persist(runtime, { call, onFailure, ...patience });
  }

  async function stored(target: Target): Promise<FoundRecord | undefined> {
    const id = idOf(target);
    const record = await ask(() => store.get(id));
    return record === undefined ? undefined : { id, record };
  }

  async function find(target: Target): Promise<FoundRecord | undefined> {
    const found = await stored(target);
    return found === undefined ? undefined : { ...found, record: openedRecord(found, results) };
  }

  function idOf(target: Target): RecordId {
    if (typeof target !== "string") {
      const { operation, scope = "public", key } = target;
      return lent.names.recordId(scope, operation, checkKey(key));
    }
    if (/^[\w-]{1,100}$/.test(target)) return target as RecordId;
    throw new TypeError("A record id is a text of letters, digits, - and _, as listings have it.");
  }

  async function resolve(target: Target, word: Word): Promise<"resolved" | "not-in-doubt"> {
    const said = commandOf(word, lent.retentionMs);
    const found = await stored(target);
    if (found?.record.state !== "in-doubt") return "not-in-doubt";
    const { id, record } = found;
    let isUnsure = false;
    const sealed = { attempt: record.attempt, ...sealedWord(said, found, results) };
    const reply = await ask(
      () => store.resolve(id, sealed),
      () => (isUnsure = true),
    );
    const isOurs = async () => saysSo(await ask(() => store.get(id)), record, word);
    // After a lost reply the word may have been heard already.
    if (reply.kind === "not-in-doubt" && !(isUnsure && (await isOurs()))) return "not-in-doubt";
    waiting.wake(id);
    const { operation, attempt } = record;
    events.emit({ kind: "resolved", operation, attempt });
    // The word stands; a note that stays is looked at once more.
    await ask(() => store.dismiss(id)).catch(() => undefined);
    return "resolved";
  }

  return { find, resolve };
}

function saysSo(after: StoredRecord | undefined, before: StoredRecord, word: Word): boolean {
  const said = after?.resolutions?.slice(before.resolutions?.length ?? 0) ?? [];
  const { outcome, by, note } = word;
  return said.some((one) => one.outcome === outcome && one.by === by && one.note === note);
}

function sealedWord(said: Said, { id, record }: FoundRecord, results: ResultCodec): Said {
  const { outcome } = said;
  if (outcome.kind === "not-executed") return said;
  const place = { id, fingerprint: record.fingerprint, part: ["result"] };
  return { ...said, outcome: { ...outcome, result: results.seal(outcome.result, place) } };
}
