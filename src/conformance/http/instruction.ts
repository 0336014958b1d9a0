/**
 * What a test route is told to do, and how that travels: base64url JSON in one request header, so
 * that body, path and query stay free for the rules about them. docs/verify.md tells it to authors
 * of test routes.
 */

/** Names and values in order; several of one name stay several. */
export type Pairs = readonly (readonly [name: string, value: string])[];

/** One execution of the test route, as told by its caller. */
export interface Instruction {
  /** Under which name the execution is counted. */
  readonly id: string;
  /** Status of the answer. Default 200. */
  readonly status?: number;
  readonly headers?: Pairs;
  /** Base64 of the body; its first part where `tail` follows. Default: none. */
  readonly body?: string;
  /** The body so many times over. Default 1. */
  readonly repeat?: number;
  /** Answer with the bytes of the request's body instead. */
  readonly echo?: true;
  /** Base64 of a second part, to be sent after `body` has left (and after `holdMs`). */
  readonly tail?: string;
  /** Wait so long before the answer, or before `tail`; shorter once released. */
  readonly holdMs?: number;
  /** Raise an error instead of answering, or break the connection off after `body`. */
  readonly fail?: "throw" | "cut";
  /** The `Link` of a 103 before the answer. */
  readonly hints?: string;
  readonly trailers?: Pairs;
  /** What the handler says of its execution. Only for routes mounted on Latchkey. */
  readonly say?: readonly ("commit" | "record" | "skip")[];
  /** Answer with the facts of the execution as JSON. Only for routes mounted on Latchkey. */
  readonly tell?: true;
  /** In which of its framework's ways to answer. Only for routes that name their ways. */
  readonly via?: string;
}

/** The request header that carries the instruction. */
export const instructionHeader = "x-verify";

/** The header's value. */
export function encodeInstruction(instruction: Instruction): string {
  return Buffer.from(JSON.stringify(instruction)).toString("base64url");
}

/** The instruction of a header's value; throws `TypeError` on what is none. */
export function decodeInstruction(value: string): Instruction {
  try {
    const instruction: unknown = JSON.parse(Buffer.from(value, "base64url").toString());
    if (isInstruction(instruction)) return instruction;
  } catch {
    // Said below, like every other value that is no instruction.
  }
  throw new TypeError(
    `The ${instructionHeader} header is not base64url JSON with an id. See docs.`,
  );
}

function isInstruction(value: unknown): value is Instruction {
  return (
    typeof value === "object" && value !== null && "id" in value && typeof value.id === "string"
  );
}
