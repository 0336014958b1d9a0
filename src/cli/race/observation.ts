/**
 * What one request of a race did, as plain data. How it is sent and what it means live elsewhere.
 */

/** Why a request was sent; a control carries another fresh key, to see whether answers differ. */
export type Phase = "together" | "retry" | "burst" | "other-body" | "control";

/** One request and its answer. Instants are ms since the round began, on a monotonic clock. */
export interface Observation {
  readonly phase: Phase;
  /** When its last byte was released. */
  readonly startMs: number;
  /** When the answer's head arrived; `undefined` when none did. */
  readonly firstByteMs: number | undefined;
  readonly endMs: number;
  /** `undefined` when there was no complete answer. */
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly bodyBytes: number;
  /** SHA-256 of the body, in hex. */
  readonly digest: string;
  /** Why there was no complete answer. */
  readonly error: string | undefined;
}
