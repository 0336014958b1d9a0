/**
 * Holds the last byte of a body back, so that no client has it whole before it is recorded (B-25).
 */

export interface Hold {
  /** What may leave now that these bytes have come: all but the last. */
  readonly next: (bytes: Uint8Array) => Buffer;
  /** What is still held. */
  readonly rest: () => Buffer;
}

export function createHold(): Hold {
  let held = Buffer.alloc(0);
  return {
    next: (bytes) => {
      if (bytes.length === 0) return Buffer.alloc(0);
      const out = Buffer.concat([held, bytes.subarray(0, -1)]);
      held = Buffer.from(bytes.subarray(-1));
      return out;
    },
    rest: () => held,
  };
}
