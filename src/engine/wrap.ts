/**
 * Plain functions: `idempotent(engine, charge, { operation, key })` gives the same function, run
 * once for each key.
 */
import type { Claim } from "./claim.ts";
import type { Engine } from "./engine.ts";

export interface WrapOptions<Input> {
  /** What the function does, e.g. `"charge"`; part of the record's identity. */
  readonly operation: string;
  /** The idempotency key of an input. */
  readonly key: (input: Input) => string;
  /** Whose key it is. Default `"public"`: one key space for all. */
  readonly scope?: (input: Input) => string;
}

/**
 * Wraps a function of one input. A repeated call with the same key returns the recorded value (as
 * JSON keeps it); with another input it rejects with `key-reused`, while the first runs with
 * `in-progress`.
 */
export function idempotent<Input, Output>(
  engine: Engine,
  work: (input: Input, claim: Claim) => Output | Promise<Output>,
  options: WrapOptions<Input>,
): (input: Input) => Promise<Output> {
  const { operation, key, scope } = options;
  if (typeof operation !== "string" || operation === "" || typeof key !== "function") {
    throw new TypeError("idempotent needs { operation: string, key: (input) => string }.");
  }
  return (input) => {
    const whose = scope === undefined ? {} : { scope: scope(input) };
    return engine.run({ operation, key: key(input), input, ...whose }, (claim) =>
      work(input, claim),
    );
  };
}
