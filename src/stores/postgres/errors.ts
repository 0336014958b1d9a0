/**
 * What Postgres and its drivers throw, in the contract's words. Drivers hang the parameters, and
 * with them results and owner tokens, on their errors, and some messages of the server quote
 * values: what leaves here has the SQLSTATE, and the server's words only where they can hold none.
 */
import { isLatchkeyError, LatchkeyError } from "../../errors.ts";

/** Raised by our own migrations: the schema, or the server, is not one for this version. */
export const unfitState = "LK001";

/** An error of the driver or the server in the contract's words. */
export function postgresError(error: unknown): LatchkeyError {
  if (isLatchkeyError(error)) return error;
  const code = codeOf(error);
  const cause = new Error(`${code}: ${wordsOf(error, code)}`);
  Object.assign(cause, { code });
  const kind = kinds.find(({ states }) => states.test(code));
  if (kind === undefined) {
    return new LatchkeyError(
      "store-unavailable",
      "Postgres cannot be reached or refused the command. Check the server and its address.",
      { cause, retryAfterMs: 1000 },
    );
  }
  const message = code === unfitState ? wordsOf(error, code) : kind.message;
  const retry = kind.code === "store-full" ? { retryAfterMs: 1000 } : {};
  return new LatchkeyError(kind.code, message, { cause, ...retry });
}

interface Kind {
  readonly states: RegExp;
  readonly code: LatchkeyError["code"];
  readonly message: string;
}
const kinds: readonly Kind[] = [
  {
    states: /^53[12]00$/, // disk full, out of memory
    code: "store-full",
    message: "Postgres has no room left. Free some disk or memory; claims are refused.",
  },
  {
    states: /^XX00[12]$/,
    code: "store-corrupt",
    message: "Postgres reports corrupted data. Restore the store's tables from a backup.",
  },
  {
    states: /^(3F000|42P01|42883)$/, // no such schema, table, function
    code: "store-unsuitable",
    message: "The store's schema is missing or incomplete. Run store.migrate().",
  },
  {
    states: /^42501$/,
    code: "store-unsuitable",
    message:
      "The database role may not use the store. Grant it what docs/stores/postgres.md lists.",
  },
  {
    states: /^25P01$/, // not in a transaction
    code: "store-unsuitable",
    message: "store.within() was handed a client that is in no transaction. Begin one first.",
  },
  { states: new RegExp(`^${unfitState}$`), code: "store-unsuitable", message: "" },
];

/** Whether the transaction lost against another and may be tried again: nothing was written. */
export function isConflict(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === "40001" || state === "40P01";
}

/** The SQLSTATE, or the system's code, behind an error that left here. */
export function sqlStateOf(error: unknown): string | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
}

function codeOf(error: unknown): string {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : "";
  return typeof code === "string" && code !== "" ? code : "unknown";
}

// Class 22 and 23 (data, constraints) quote values, P0 whatever a function raised. A connection's
// failure, an exhausted resource, a missing right or table do not.
const speakable = /^(08|25|28|3D|3F|40|42|53|54|55|57|58|XX|LK)...$|^E[A-Z]+$|^CONNECT/;

function wordsOf(error: unknown, code: string): string {
  if (!(error instanceof Error)) return "no words";
  if (speakable.test(code) || isOfTheDriver(error, code)) return error.message;
  return "the server's words may quote values and are left out";
}

// Without a SQLSTATE it is the driver's own ("Connection terminated unexpectedly").
function isOfTheDriver(error: Error, code: string): boolean {
  return code === "unknown" && !("parameters" in error) && !("params" in error);
}
