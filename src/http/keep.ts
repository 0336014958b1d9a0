/**
 * Collects a response body up to a limit, so that it can be recorded; beyond it nothing is kept.
 */

export interface Keep {
  readonly add: (bytes: Uint8Array) => void;
  /** All that was added; `undefined` when it was more than the limit. */
  readonly body: () => Uint8Array | undefined;
  readonly isOver: () => boolean;
  /** Keeps nothing, whatever comes: for what cannot be replayed. */
  readonly abandon: () => void;
}

/**
 * An empty collector of at most `limitBytes`. The cap counts bytes, not a Content-Length (B-108).
 */
export function createKeep(limitBytes: number): Keep {
  const chunks: Uint8Array[] = [];
  let total = 0;
  return {
    add: (bytes) => {
      total += bytes.length;
      if (total <= limitBytes) chunks.push(Uint8Array.from(bytes));
      else chunks.length = 0;
    },
    abandon: () => {
      total = Infinity;
      chunks.length = 0;
    },
    isOver: () => total > limitBytes,
    body: () => (total <= limitBytes ? Buffer.concat(chunks) : undefined),
  };
}
