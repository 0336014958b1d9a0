/** From Redis's arrays of strings to the replies and records of the machine. */
import { LatchkeyError } from "../../errors.ts";
import type {
  ClaimReply,
  InProgressRecord,
  OnAbandoned,
  Resolution,
  Steps,
  StoredRecord,
} from "../../machine/record.ts";

/** What a script answers: its word, then bytes and lists of bytes. */
export type Reply = readonly (Buffer | readonly Buffer[])[];

/** The word of a reply; a record that cannot be read is locked, never free. */
export function wordOf(reply: Reply): string {
  const word = String(reply[0]);
  if (word !== "corrupt") return word;
  throw new LatchkeyError(
    "store-corrupt",
    "A record in Redis cannot be read by this version. Deploy the version that wrote it.",
  );
}

/** The reply of `claim.lua`. */
export function claimReply(reply: Reply): ClaimReply {
  const [, first, second, third, ...steps] = reply as readonly Buffer[];
  const word = wordOf(reply);
  switch (word) {
    case "claimed": {
      const takeover = String(third) === "true";
      const [fence, attempt] = [Number(first), Number(second)];
      return { kind: word, fence, attempt, takeover, steps: stepsOf(steps) };
    }
    case "in-progress":
      return { kind: word, retryAfterMs: Number(first), runningForMs: Number(second) };
    case "completed": {
      const times = { completedAtMs: Number(second), expiresInMs: Number(third) };
      return { kind: word, result: bytesOf(first), ...times };
    }
    case "mismatch":
      return { kind: word };
    case "in-doubt":
      return { kind: word, operation: String(first) };
    default:
      throw unknownReply(word);
  }
}

/** One of the words a script may answer, as a reply of that kind. */
export function plainReply<Word extends string>(
  reply: Reply,
  words: readonly Word[],
): { readonly kind: Word } {
  const word = wordOf(reply);
  const kind = words.find((one) => one === word);
  if (kind === undefined) throw unknownReply(word);
  return { kind };
}

/** The record of `get.lua`. */
export function recordReply(reply: Reply): StoredRecord | undefined {
  if (wordOf(reply) === "absent") return undefined;
  const fields = new Map<string, Reply[number]>();
  for (let index = 1; index + 1 < reply.length; index += 2) {
    fields.set(String(reply[index]), reply[index + 1] ?? []);
  }
  const word = (name: string): string => String(fields.get(name));
  const count = (name: string): number => Number(word(name));
  const base = {
    fingerprint: word("fingerprint") as StoredRecord["fingerprint"],
    operation: word("operation"),
    fence: count("fence"),
    attempt: count("attempt"),
    owner: word("owner") as StoredRecord["owner"],
    claimedAtMs: count("claimedAtMs"),
    expiresAtMs: count("expiresAtMs"),
    ...resolutionsOf(fields.get("resolutions")),
  };
  const steps = fields.get("steps");
  const unfinished = isList(steps) ? { ...base, steps: stepsOf(steps) } : base;
  const state = word("state");
  const committed = word("committed") === "true";
  switch (state) {
    case "in-progress":
      return { ...unfinished, state, committed, ...leaseFields(word) };
    case "completed":
      return {
        ...base,
        state,
        completedAtMs: count("atMs"),
        result: bytesOf(fields.get("result")),
      };
    case "released":
      return { ...unfinished, state };
    case "in-doubt":
      return { ...unfinished, state, committed, doubtedAtMs: count("atMs") };
    default:
      throw unknownReply(state);
  }
}

function isList(value: Reply[number] | undefined): value is readonly Buffer[] {
  return Array.isArray(value);
}

function stepsOf(flat: readonly Buffer[]): Steps {
  const steps: [string, Uint8Array][] = [];
  for (let index = 0; index + 1 < flat.length; index += 2) {
    steps.push([String(flat[index]), bytesOf(flat[index + 1])]);
  }
  return Object.fromEntries(steps);
}

function resolutionsOf(flat: Reply[number] | undefined): {
  readonly resolutions?: readonly Resolution[];
} {
  if (!isList(flat)) return {};
  const resolutions: Resolution[] = [];
  for (let index = 0; index + 3 < flat.length; index += 4) {
    const [outcome, by, note, atMs] = flat.slice(index, index + 4).map(String);
    resolutions.push({
      outcome: outcome as Resolution["outcome"],
      by: String(by),
      note: String(note),
      atMs: Number(atMs),
    });
  }
  return { resolutions };
}

type LeaseFields = Pick<
  InProgressRecord,
  "leaseEndsAtMs" | "leaseMs" | "retentionMs" | "onAbandoned" | "takeover"
>;
function leaseFields(word: (name: string) => string): LeaseFields {
  return {
    leaseEndsAtMs: Number(word("leaseEndsAtMs")),
    leaseMs: Number(word("leaseMs")),
    retentionMs: Number(word("retentionMs")),
    onAbandoned: word("onAbandoned") as OnAbandoned,
    takeover: word("takeover") === "true",
  };
}

function bytesOf(value: Reply[number] | undefined): Uint8Array {
  return new Uint8Array(value instanceof Uint8Array ? value : []);
}

function unknownReply(word: string): LatchkeyError {
  return new LatchkeyError(
    "store-corrupt",
    `Redis answered ${JSON.stringify(word)}, which is no reply of this store. Check the client.`,
  );
}
