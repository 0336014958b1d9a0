/**
 * Redaction: what must not be kept is taken out before anything is encoded. When that fails,
 * nothing is kept at all, and what is told of it does not repeat what the redaction threw: its
 * words may quote the very secret.
 */

/** What is to be kept, or why nothing is. */
export type Redacted<T> =
  | { readonly kind: "redacted"; readonly kept: T }
  | { readonly kind: "failed"; readonly cause: Error };

/** Runs a redaction; its value counts only where `isSound` says so. */
export function redactedBy<T>(redact: () => T, isSound: (kept: T) => boolean): Redacted<T> {
  try {
    const kept = redact();
    return isSound(kept) ? { kind: "redacted", kept } : failed("returned what cannot be kept");
  } catch (error) {
    return failed(`threw ${kindOf(error)}`);
  }
}

/** What was thrown, in words that cannot be its own: "a TypeError". */
export function kindOf(error: unknown): string {
  return error instanceof Error ? `a ${nameOf(error)}` : "something";
}

// The name of a class is the programmer's word; the property of that name is anybody's.
function nameOf(error: Error): string {
  return error.constructor.name || "nameless error";
}

function failed(what: string): Redacted<never> {
  const message = `redact ${what}, so the result was omitted. Mend it: retries are refused.`;
  return { kind: "failed", cause: new Error(message) };
}
