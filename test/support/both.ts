/** The same app twice on real servers, without Latchkey and with it, compared on the wire. */
import type { Server } from "node:http";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { until } from "./poll.ts";
import { bytesOf, portOf } from "./raw-socket.ts";
import type { RawRequest } from "./raw-socket.ts";

export interface Compared {
  /** The bytes of the app without Latchkey. */
  readonly bare: string;
  readonly guarded: string;
  /** What the engine told of the guarded one. */
  readonly told: readonly string[];
}

export interface Comparison extends AsyncDisposable {
  /** Asks both apps for an ending, with a key of its own. */
  readonly ask: (ending: string, request?: RawRequest) => Promise<Compared>;
}

/** Serves an app that is made twice: the second time with an engine to be protected by. */
export async function compareApps(
  make: (engine: Engine | undefined) => Server | Promise<Server>,
): Promise<Comparison> {
  const events: string[] = [];
  const onEvent = (event: { readonly kind: string }): void => void events.push(event.kind);
  const engine = createEngine({ store: memoryStore(), onEvent });
  const servers = [await make(undefined), await make(engine)] as const;
  const [bare, guarded] = [await portOf(servers[0]), await portOf(servers[1])];
  let asked = 0;
  return {
    ask: async (ending, request = {}) => {
      asked += 1;
      const told = events.length;
      const own = { "x-ending": ending, "idempotency-key": String(asked) };
      const raw = { ...request, headers: { ...request.headers, ...own } };
      const bytes = { bare: await bytesOf(bare, raw), guarded: await bytesOf(guarded, raw) };
      await until(() => events.length > told, { what: "an event of the engine" });
      return { ...bytes, told: events.slice(told) };
    },
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}

/** An error whose stack tells nothing of where it was made. */
export function plainError(message: string, more: object = {}): Error {
  return Object.assign(new Error(message), { stack: message, ...more });
}
