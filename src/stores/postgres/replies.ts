/** From the rows of the functions to the replies and records of the machine. */
import { LatchkeyError } from "../../errors.ts";
import type { ClaimReply, RecordId, Steps, StoredRecord } from "../../machine/record.ts";
import type { ListedRecord, NotePage, RecordPage } from "../store.ts";
import type { Row } from "./client.ts";

/** The text that a function answered. */
export function answerOf(rows: readonly Row[]): string {
  const answer = rows[0]?.["answer"];
  if (typeof answer === "string") return answer;
  throw unknownReply(typeof answer);
}

/** One of the words a function may answer, as a reply of that kind. */
export function plainReply<Word extends string>(
  rows: readonly Row[],
  words: readonly Word[],
): { readonly kind: Word } {
  const word = answerOf(rows);
  if (word === "corrupt") throw corrupt();
  const kind = words.find((one) => one === word);
  if (kind === undefined) throw unknownReply(word);
  return { kind };
}

/** The number a function answered. */
export function countReply(rows: readonly Row[]): number {
  const answer = answerOf(rows);
  if (!/^\d+$/.test(answer)) throw unknownReply(answer);
  return Number(answer);
}

/** The reply of `claim.sql`. */
export function claimReply(rows: readonly Row[]): ClaimReply {
  const reply = parse(answerOf(rows)) as
    | Exclude<ClaimReply, { readonly kind: "completed" | "claimed" }>
    | Omit<Extract<ClaimReply, { readonly kind: "completed" }>, "result">
    | (Omit<Extract<ClaimReply, { readonly kind: "claimed" }>, "steps"> & { steps: StepTexts })
    | { readonly kind: "corrupt" };
  switch (reply.kind) {
    case "claimed":
      return { ...reply, steps: stepsOf(reply.steps) };
    case "completed":
      return { ...reply, result: bytesOf(rows) };
    case "in-progress":
    case "mismatch":
    case "in-doubt":
      return reply;
    case "corrupt":
      throw corrupt();
  }
  throw unknownReply(String((reply as { readonly kind?: unknown }).kind));
}

/** The record of `get.sql`. */
export function recordReply(rows: readonly Row[]): StoredRecord | undefined {
  const reply = parse(answerOf(rows)) as
    | { readonly kind: "absent" | "corrupt" }
    | { readonly kind: "found"; readonly record: ListedRecord; readonly steps: StepTexts };
  if (reply.kind === "absent") return undefined;
  if (reply.kind !== "found") throw corrupt();
  const { record } = reply;
  if (record.state === "completed") return { ...record, result: bytesOf(rows) };
  const steps = stepsOf(reply.steps);
  return Object.keys(steps).length === 0 ? record : { ...record, steps };
}

/** The page of `list.sql`. */
export function pageReply(rows: readonly Row[]): RecordPage {
  const { found, next } = parse(answerOf(rows)) as {
    readonly found: readonly { readonly id: RecordId; readonly record: ListedRecord | null }[];
    readonly next: string | null;
  };
  const records = found.flatMap(({ id, record }) => (record === null ? [] : [{ id, record }]));
  const unreadable = found.flatMap(({ id, record }) => (record === null ? [id] : []));
  return { records, unreadable, ...(next === null ? {} : { next }) };
}

/** The notes of `attention.sql`. */
export function notesReply(rows: readonly Row[]): NotePage["notes"] {
  return parse(answerOf(rows)) as NotePage["notes"];
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw unknownReply("no JSON");
  }
}

/** Step results in base64. */
type StepTexts = Readonly<Record<string, string>>;

function stepsOf(texts: StepTexts): Steps {
  const steps = Object.entries(texts).map(([name, text]): [string, Uint8Array] => [
    name,
    new Uint8Array(Buffer.from(text, "base64")),
  ]);
  return Object.fromEntries(steps);
}

function bytesOf(rows: readonly Row[]): Uint8Array {
  const bytes = rows[0]?.["bytes"];
  if (bytes instanceof Uint8Array) return new Uint8Array(bytes);
  throw unknownReply(`${typeof bytes} for bytes`);
}

// A record nobody can read is locked, never free.
function corrupt(): LatchkeyError {
  return new LatchkeyError(
    "store-corrupt",
    "A record in Postgres cannot be read by this version. Deploy the version that wrote it.",
  );
}

function unknownReply(what: string): LatchkeyError {
  return new LatchkeyError(
    "store-corrupt",
    `Postgres answered ${JSON.stringify(what)}, which is no reply of this store. Check the client.`,
  );
}
