/**
 * What may happen to a recorded result between the engine and its store: codecs, applied in one
 * place on the way down and in one on the way up. The codecs themselves stand beside this file.
 */
import { isLatchkeyError, LatchkeyError } from "../../errors.ts";
import { encodeEnvelope } from "../values/codec.ts";
import { kindOf } from "./redact.ts";
import type {
  ClaimReply,
  Fingerprint,
  RecordId,
  Steps,
  StoredRecord,
} from "../../machine/record.ts";

/** Which bytes these are: a codec that authenticates binds them to it. */
export interface ResultPlace {
  readonly id: RecordId;
  readonly fingerprint: Fingerprint;
  /** `"result"`, or `"step"` and the step's name. */
  readonly part: readonly string[];
}

/** Turns results into what the store keeps, and back. Runs on the event loop; keep it quick. */
export interface ResultCodec {
  /** For messages, e.g. `"encrypted"`. */
  readonly name: string;
  /** Nothing may come behind it: what it makes cannot be compressed, and must not be changed. */
  readonly isLast?: boolean;
  /** What is stored for these bytes. When it throws, they are omitted and never asked for again. */
  readonly seal: (bytes: Uint8Array, place: ResultPlace) => Uint8Array;
  /** The bytes as they were; throws when they cannot be given back: then the key stays locked. */
  readonly open: (stored: Uint8Array, place: ResultPlace) => Uint8Array;
}

const identity: ResultCodec = {
  name: "none",
  seal: (bytes) => bytes,
  open: (stored) => stored,
};

/**
 * Several codecs as one: sealed in their order, opened in the reverse. Every failure to open is a
 * `store-corrupt`. Throws `TypeError` when they cannot stand in this order.
 */
export function codecOf(codecs: readonly ResultCodec[]): ResultCodec {
  checkCodecs(codecs);
  const [only] = codecs;
  if (only === undefined) return identity;
  const reversed = codecs.toReversed();
  return {
    name: codecs.map(({ name }) => name).join(),
    seal: (bytes, place) => codecs.reduce((inner, codec) => codec.seal(inner, place), bytes),
    open: (stored, place) => {
      try {
        return reversed.reduce((outer, codec) => codec.open(outer, place), stored);
      } catch (error) {
        throw isLatchkeyError(error) ? error : unreadable({ cause: error });
      }
    },
  };
}

/** What is to be stored for a result. */
export interface Sealed {
  readonly bytes: Uint8Array;
  /** Why it was omitted, without what the codec has said: that may quote the result. */
  readonly refusal?: Error;
}

/**
 * Seals the result of work that is done. One that a codec refuses is omitted: whatever happens, the
 * work never runs again.
 */
export function sealedOrOmitted(
  bytes: Uint8Array,
  place: ResultPlace,
  results: ResultCodec,
): Sealed {
  try {
    return { bytes: results.seal(bytes, place) };
  } catch (error) {
    const omitted = encodeEnvelope("omitted", { reason: "seal failed" });
    return { bytes: sealedOrBare(omitted, place, results), refusal: refusalOf(error) };
  }
}

// Bare, a codec that wants all sealed locks the key.
function sealedOrBare(omitted: Uint8Array, place: ResultPlace, results: ResultCodec): Uint8Array {
  try {
    return results.seal(omitted, place);
  } catch {
    return omitted;
  }
}

function refusalOf(error: unknown): Error {
  const what = `A codec threw ${kindOf(error)}, so the result was omitted.`;
  return new Error(`${what} Mend it: retries are refused.`);
}

type RecordPlace = Omit<ResultPlace, "part">;

/** A claim's reply with its result and its steps opened; throws `store-corrupt`. */
export function openedReply(
  reply: ClaimReply,
  place: RecordPlace & { readonly results: ResultCodec },
): ClaimReply {
  const { results } = place;
  if (reply.kind === "completed") {
    return { ...reply, result: openedResult(reply.result, place, results) };
  }
  if (reply.kind !== "claimed") return reply;
  return { ...reply, steps: openedSteps(reply.steps, place, results) };
}

/** A record with its result and its steps opened, for operators; throws `store-corrupt`. */
export function openedRecord(
  { id, record }: { readonly id: RecordId; readonly record: StoredRecord },
  results: ResultCodec,
): StoredRecord {
  const place = { id, fingerprint: record.fingerprint };
  if (record.state === "completed") {
    return { ...record, result: openedResult(record.result, place, results) };
  }
  if (record.steps === undefined) return record;
  return { ...record, steps: openedSteps(record.steps, place, results) };
}

function openedResult(
  bytes: Uint8Array,
  { id, fingerprint }: RecordPlace,
  results: ResultCodec,
): Uint8Array {
  return results.open(bytes, { id, fingerprint, part: ["result"] });
}

function openedSteps(steps: Steps, { id, fingerprint }: RecordPlace, results: ResultCodec): Steps {
  const opened = Object.entries(steps).map(([name, bytes]) => {
    return [name, results.open(bytes, { id, fingerprint, part: ["step", name] })] as const;
  });
  return opened.length === 0 ? steps : Object.fromEntries(opened);
}

/** The error for bytes that a codec does not give back; `what` says why, without showing them. */
export function unreadable({
  what = "",
  cause,
}: {
  what?: string;
  cause?: unknown;
}): LatchkeyError {
  const why = what === "" ? "" : `: ${what}`;
  return new LatchkeyError(
    "store-corrupt",
    `A recorded result cannot be opened${why}. Restore the options that wrote it, or forget it.`,
    { cause },
  );
}

function checkCodecs(codecs: readonly ResultCodec[]): void {
  if (!Array.isArray(codecs) || codecs.some((one) => !isCodec(one))) {
    throw new TypeError("results must be a list of codecs, such as [compressed()].");
  }
  const early = codecs.slice(0, -1).find(({ isLast }) => isLast === true);
  if (early === undefined) return;
  throw new TypeError(`results must end with ${early.name}(): nothing can be done behind it.`);
}

function isCodec(value: unknown): value is ResultCodec {
  const { seal, open } = (value ?? {}) as Partial<ResultCodec>;
  return typeof seal === "function" && typeof open === "function";
}
