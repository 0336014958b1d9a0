/**
 * A response in a Hono context: the handler's own, whatever others answer meanwhile, and the
 * layer's, with the headers of the layers outside.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Answer } from "../../http/answer.ts";
import { withExposure } from "../../http/headers.ts";
import { bodyOf, initOf, toResponse } from "../fetch/exchange.ts";
import { isWorkers } from "../fetch/platform.ts";

interface Responding {
  readonly finalized: boolean;
  res: Response;
}

// These are overloaded in Hono's types, and plain at run time.
interface Inside {
  res: Response | undefined;
  readonly newResponse: (body: Uint8Array<ArrayBuffer> | null, init: ResponseInit) => Response;
}

/** Sets a response. Hono merges the headers of one over another; this one has them already. */
export function replace(c: Responding, response: Response): void {
  if (c.res === response) return;
  (c as unknown as Inside).res = undefined;
  c.res = response;
}

const handling = new AsyncLocalStorage<Responding>();

/**
 * Runs what follows so that it sees only its own response: a timeout outside may have answered by
 * then, and Hono would drop what the handler answers later, and what is to be recorded (B-79).
 */
export async function ownResponse(c: Responding, next: () => Promise<void>): Promise<Response> {
  let isFinal = c.finalized;
  let isOwnFinal = isFinal;
  Object.defineProperty(c, "finalized", {
    configurable: true,
    get: () => (handling.getStore() === c ? isOwnFinal : isFinal),
    set(value: boolean) {
      isFinal = value;
      if (handling.getStore() === c) isOwnFinal = value;
    },
  });
  await handling.run(c, next);
  return c.res;
}

/** An answer through the context, so that headers set by the layers outside are kept. */
export function answered(c: Responding, answer: Answer): Response {
  const { newResponse } = c as unknown as Inside;
  const made = newResponse(bodyOf(answer), initOf(answer));
  const response = isWorkers ? toResponse({ ...answer, headers: [...made.headers] }) : made;
  const exposed = withExposure(answer.headers, (name) => response.headers.get(name));
  for (const [name, value] of exposed.slice(answer.headers.length)) {
    // Of what is in the context already, Hono lets that stand.
    for (const { headers } of [response, c.res]) headers.set(name, value);
  }
  return response;
}
