/** From Redis's arrays of strings to the replies and records of the machine. */
import { LatchkeyError } from "../../errors.ts";
import type {
  ClaimReply,
  InProgressRecord,
  OnAbandoned,
  StoredRecord,
} from "../../machine/record.ts";

/** The word of a reply; a record that cannot be read is locked, never free. */
export function wordOf(reply: readonly Buffer[]): string {
  const word = String(reply[0]);
  if (word !== "corrupt") return word;
  throw new LatchkeyError(
    "store-corrupt",
    "A record in Redis cannot be read by this version. Deploy the version that wrote it.",
  );
}

/** The reply of `claim.lua`. */
export function claimReply(reply: readonly Buffer[]): ClaimReply {
  const [first, second, third] = [reply[1], reply[2], reply[3]];
  const word = wordOf(reply);
  switch (word) {
    case "claimed": {
      const takeover = String(third) === "true";
      return { kind: word, fence: Number(first), attempt: Number(second), takeover };
    }
    case "in-progress":
      return { kind: word, retryAfterMs: Number(first), runningForMs: Number(second) };
    case "completed": {
      const times = { completedAtMs: Number(second), expiresInMs: Number(third) };
      return { kind: word, result: new Uint8Array(first ?? []), ...times };
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
  reply: readonly Buffer[],
  words: readonly Word[],
): { readonly kind: Word } {
  const word = wordOf(reply);
  const kind = words.find((one) => one === word);
  if (kind === undefined) throw unknownReply(word);
  return { kind };
}

/** The record of `get.lua`. */
export function recordReply(reply: readonly Buffer[]): StoredRecord | undefined {
  if (wordOf(reply) === "absent") return undefined;
  const fields = new Map<string, Buffer>();
  for (let index = 1; index + 1 < reply.length; index += 2) {
    fields.set(String(reply[index]), reply[index + 1] as Buffer);
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
  };
  const state = word("state");
  const committed = word("committed") === "true";
  switch (state) {
    case "in-progress":
      return { ...base, state, committed, ...leaseFields(word) };
    case "completed":
      return { ...base, state, completedAtMs: count("atMs"), result: bytesOf(fields) };
    case "released":
      return { ...base, state };
    case "in-doubt":
      return { ...base, state, committed, doubtedAtMs: count("atMs") };
    default:
      throw unknownReply(state);
  }
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

function bytesOf(fields: ReadonlyMap<string, Buffer>): Uint8Array {
  return new Uint8Array(fields.get("result") ?? []);
}

function unknownReply(word: string): LatchkeyError {
  return new LatchkeyError(
    "store-corrupt",
    `Redis answered ${JSON.stringify(word)}, which is no reply of this store. Check the client.`,
  );
}
