/**
 * Plain functions: `idempotent(engine, charge, { operation, key })` gives the same function, run
 * once for each key.
 */
import type { Claim } from "../claim.ts";
import type { Engine } from "../engine.ts";
import { checkTransactions } from "../transaction/transactions.ts";
import type { Transactions } from "../transaction/transactions.ts";

export interface WrapOptions<Input, Output = unknown, Tx = never> {
  /** What the function does, e.g. `"charge"`; part of the record's identity. */
  readonly operation: string;
  /** The idempotency key of an input. */
  readonly key: (input: Input) => string;
  /** Whose key it is. Default `"public"`: one key space for all. */
  readonly scope?: (input: Input) => string;
  /**
   * What is recorded instead of the function's value, e.g. without a card number: a repeated call
   * gets this. When it throws, the value is omitted. It must not wait. Default: the value.
   */
  readonly redact?: (value: Output) => Output;
  /**
   * Where transactions on the store's own database come from: the claim, the function's writes in
   * it and its value are committed together or not at all. Default: no transaction.
   */
  readonly transaction?: Transactions<Tx>;
}

/**
 * Wraps a function of one input. A repeated call with the same key returns the recorded value (as
 * JSON keeps it); with another input it rejects with `key-reused`, while the first runs with
 * `in-progress`.
 */
export function idempotent<Input, Output, Tx = never>(
  engine: Engine,
  work: (input: Input, claim: Claim, transaction: Tx) => Output | Promise<Output>,
  options: WrapOptions<Input, Output, Tx>,
): (input: Input) => Promise<Output> {
  const { operation, key, scope, redact, transaction } = options;
  if (typeof operation !== "string" || operation === "" || typeof key !== "function") {
    throw new TypeError("idempotent needs { operation: string, key: (input) => string }.");
  }
  const within = transaction && { transaction: checkTransactions(transaction) };
  const redaction = redact === undefined ? {} : { redact };
  return async (input) => {
    const whose = scope === undefined ? {} : { scope: scope(input) };
    const request = { operation, key: key(input), input, ...whose, ...redaction, ...within };
    return engine.run<Output>(request, (claim) => work(input, claim, claim.transaction as Tx));
  };
}
