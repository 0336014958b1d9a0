/**
 * A Node response as it was before the tap. When its client goes away the handler goes on as if it
 * had not (B-76): what it writes is swallowed.
 */
import type { ServerResponse } from "node:http";
import { callbackIn } from "./chunk.ts";
import type { Callback } from "./chunk.ts";
import { clientOf } from "./client.ts";
import type { Leaving } from "./client.ts";

export interface Wire {
  readonly write: (chunk: unknown, encoding?: unknown, callback?: unknown) => boolean;
  readonly end: (chunk?: unknown, encoding?: unknown, callback?: unknown) => void;
  readonly destroy: (error?: Error) => ServerResponse;
  /** Lets the client go, and nothing else change. */
  readonly drop: () => ServerResponse;
  /** The head stands: by it the response may be over, if its client has left. */
  readonly headStands: () => void;
}

/** Takes the response's own methods, and stands between it and its client's leaving. */
export function wireOf(res: ServerResponse, leaving: Leaving): Wire {
  const own = methodsOf(res);
  const client = clientOf(res, leaving);
  return {
    write: (chunk, encoding, callback) => {
      const done = callbackIn(encoding, callback);
      if (client.isGone()) {
        client.giveUp();
        return swallow(done);
      }
      const given = callbackIn(encoding) === undefined ? encoding : undefined;
      return own.write(chunk, given, client.receipt(done));
    },
    end: (chunk, encoding, callback) => {
      if (client.isGone()) {
        swallow(callbackIn(chunk, encoding, callback));
        client.leaveAtEnd();
      } else {
        client.letGo();
        own.end(chunk, encoding, callback);
      }
    },
    destroy: (error) => {
      client.letGo();
      return own.destroy(error);
    },
    drop: () => own.destroy(),
    headStands: client.headStands,
  };
}

type OwnMethods = Pick<Wire, "write" | "end" | "destroy">;

function methodsOf(res: ServerResponse): OwnMethods {
  return {
    write: res.write.bind(res) as OwnMethods["write"],
    end: res.end.bind(res) as OwnMethods["end"],
    destroy: res.destroy.bind(res),
  };
}

function swallow(done: Callback | undefined): true {
  if (done !== undefined) process.nextTick(done);
  return true;
}
