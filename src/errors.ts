/**
 * Everything Latchkey throws, and nothing else. Errors are recognised by their brand and told apart
 * by their `code`, never by `instanceof` (two installed copies would not know each other's
 * classes).
 */

const brand = "latchkey.error";

/** Codes of errors. The set is closed; a new code is a new minor version. */
export type ErrorCode =
  | "in-progress"
  | "outcome-unknown"
  | "result-omitted"
  | "failed"
  | "key-reused"
  | "key-missing"
  | "key-invalid"
  | "lease-lost"
  | "store-unavailable"
  | "store-corrupt"
  | "store-full"
  | "store-unsuitable";

export interface LatchkeyErrorOptions {
  readonly cause?: unknown;
  readonly retryAfterMs?: number;
}

/**
 * The one class of error. `message` says what happened and what to do; it never holds a key, a
 * body or a token.
 */
export class LatchkeyError extends Error {
  override readonly name = "LatchkeyError";
  readonly code: ErrorCode;
  /** Milliseconds after which a retry makes sense; absent when a retry cannot help. */
  readonly retryAfterMs: number | undefined;
  /** What `isLatchkeyError` looks for. */
  readonly brand: typeof brand = brand;

  constructor(code: ErrorCode, message: string, options: LatchkeyErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Whether a caught value is an error of Latchkey, whichever copy of the package threw it. */
export function isLatchkeyError(value: unknown): value is LatchkeyError {
  return value instanceof Error && "brand" in value && value.brand === brand;
}
