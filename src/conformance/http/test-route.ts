/**
 * The server's side of a test route: counts executions, waits, and does as it is told. `listener`
 * answers on plain `node:http` (and in whatever hands out Node's request and response); other
 * frameworks translate what `perform` returns into their own words.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import type { Idempotency } from "../../http/execution.ts";
import { decodeInstruction, instructionHeader } from "./instruction.ts";
import type { Instruction, Pairs } from "./instruction.ts";

/** What an execution is to answer. */
export interface Play {
  readonly status: number;
  readonly headers: Pairs;
  readonly body: Buffer;
  /** The second part, once it is due; `"cut"` breaks the answer off. Absent: there is none. */
  readonly rest?: () => Promise<Buffer | "cut">;
  /** The `Link` of a 103 before the answer. */
  readonly hints: string | undefined;
  readonly trailers: Pairs;
  /** In which of the framework's ways to answer; absent for its usual one. */
  readonly via: string | undefined;
}

/** A request for `perform`. */
export interface Cue {
  /** The value of the instruction's header. */
  readonly instruction: string | undefined;
  readonly body: () => Promise<Uint8Array>;
  readonly idempotency?: Idempotency | undefined;
}

export interface TestRoute {
  /** The answer to `?executions=ID` or `?release=ID`, as JSON; `undefined` for other targets. */
  readonly inquire: (target: string) => string | undefined;
  /** Executes an instruction; rejects where it says `fail: "throw"`, or is none (`TypeError`). */
  readonly perform: (cue: Cue) => Promise<Play>;
  /** Both of them on Node's request and response. */
  readonly listener: (
    req: IncomingMessage,
    res: ServerResponse,
    idempotency?: Idempotency,
  ) => Promise<void>;
}

/** How many ids are remembered; the oldest is forgotten first. */
const mostIds = 10_000;
const longestHoldMs = 30_000;
const longestBodyBytes = 64 * 1_048_576;

/** A test route with books of its own. */
export function createTestRoute(): TestRoute {
  const books = new Map<string, { executions: number; readonly released: AbortController }>();

  function bookOf(id: string) {
    const known = books.get(id);
    if (known !== undefined) return known;
    const [oldest] = books.keys();
    if (books.size >= mostIds && oldest !== undefined) books.delete(oldest);
    const book = { executions: 0, released: new AbortController() };
    books.set(id, book);
    return book;
  }

  async function hold({ id, holdMs = 0 }: Instruction): Promise<void> {
    if (holdMs === 0) return;
    const { signal } = bookOf(id).released;
    // A release ends the waiting, whether it came before or comes meanwhile.
    await delay(Math.min(holdMs, longestHoldMs), undefined, { signal }).catch(() => undefined);
  }

  async function perform({ instruction, body, idempotency }: Cue): Promise<Play> {
    const told = decodeInstruction(instruction ?? "");
    bookOf(told.id).executions += 1;
    const sent = await body();
    for (const word of told.say ?? []) await idempotency?.[word]();
    const isWhole = told.tail === undefined && told.fail !== "cut";
    if (isWhole) await hold(told);
    if (told.fail === "throw") throw new Error("The test route throws, as it was told.");
    const { status = 200, headers = [], hints, trailers = [], via } = told;
    const play = { status, headers, body: bodyOf(told, sent, idempotency), hints, trailers, via };
    if (isWhole) return play;
    const rest = async (): Promise<Buffer | "cut"> => {
      await hold(told);
      return told.fail === "cut" ? "cut" : Buffer.from(told.tail ?? "", "base64");
    };
    return { ...play, rest };
  }

  function inquire(target: string): string | undefined {
    const query = new URLSearchParams(target.split("?")[1] ?? "");
    const [asked, released] = [query.get("executions"), query.get("release")];
    if (released !== null) bookOf(released).released.abort();
    const id = asked ?? released;
    return id === null ? undefined : JSON.stringify({ executions: books.get(id)?.executions ?? 0 });
  }

  return { inquire, perform, listener: listenerOf(inquire, perform) };
}

function bodyOf(
  { echo, tell, body = "", repeat = 1 }: Instruction,
  sent: Uint8Array,
  idempotency: Idempotency | undefined,
): Buffer {
  if (echo === true) return Buffer.from(sent);
  if (tell === true) return Buffer.from(JSON.stringify(idempotency ?? {}));
  const part = Buffer.from(body, "base64");
  const length = part.length * repeat;
  if (length > longestBodyBytes) throw new TypeError("The instruction asks for too long a body.");
  return repeat === 1 || length === 0 ? part : Buffer.alloc(length, part);
}

function listenerOf(
  inquire: TestRoute["inquire"],
  perform: TestRoute["perform"],
): TestRoute["listener"] {
  return async (req, res, idempotency) => {
    const answer = inquire(req.url ?? "/");
    if (answer !== undefined) {
      res.writeHead(200, { "content-type": "application/json" }).end(answer);
      return;
    }
    const header = req.headers[instructionHeader];
    const instruction = typeof header === "string" ? header : undefined;
    try {
      await play(res, await perform({ instruction, body: () => buffer(req), idempotency }));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      res.writeHead(400, { "content-type": "text/plain" }).end(error.message);
    }
  };
}

/** Answers on Node's response: whole with its length, or in two parts. */
async function play(res: ServerResponse, told: Play): Promise<void> {
  const { status, headers, body, rest, hints, trailers } = told;
  if (hints !== undefined) res.writeEarlyHints({ link: hints });
  res.statusCode = status;
  for (const name of new Set(headers.map(([one]) => one.toLowerCase()))) res.removeHeader(name);
  for (const [name, value] of headers) res.appendHeader(name, value);
  if (trailers.length > 0) {
    res.setHeader("trailer", trailers.map(([name]) => name).join(", "));
    res.addTrailers(Object.fromEntries(trailers));
  }
  if (rest === undefined) return void res.end(body);
  // Until it has left: what is destroyed behind it would take it along.
  await new Promise((resolve) => res.write(body, resolve));
  const last = await rest();
  if (last === "cut") res.destroy();
  else res.end(last);
}
