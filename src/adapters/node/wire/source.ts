/** What is piped into a response whose client may leave before it is whole. */
import type { Readable } from "node:stream";

/** Ignores who destroys a stream without a reason while it is still wanted. */
export function keepFlowing(stream: Readable, isWanted: () => boolean): void {
  const destroy = stream.destroy.bind(stream);
  stream.destroy = (error) => {
    const isReasonless = error === undefined || error === null;
    return isReasonless && !stream.readableEnded && isWanted() ? stream : destroy(error);
  };
}

export interface Source {
  /** Something was piped into the response. */
  readonly watch: (piped: Readable) => void;
  /** Whether the source is gone before its end. */
  readonly isBroken: () => boolean;
  /** Tells of it if it is. */
  readonly check: () => void;
}

/**
 * Watches the last source of a response: keeps it flowing while it `isWanted`, and tells when it is
 * gone before its end, with its error if it had one.
 */
export function createSource(
  isWanted: () => boolean,
  onBroken: (error: Error | null) => void,
): Source {
  let source: Readable | undefined;
  const isBroken = (): boolean => source?.destroyed === true && !source.readableEnded;
  function check(): void {
    if (isBroken()) onBroken(source?.errored ?? null);
  }
  return {
    watch: (piped) => {
      source = piped;
      keepFlowing(piped, isWanted);
      piped.once("close", check);
    },
    isBroken,
    check,
  };
}
