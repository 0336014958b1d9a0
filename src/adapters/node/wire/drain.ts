/** Who waits for a slow client to read on, and has to be told when it never will. */
import type { ServerResponse } from "node:http";

type Listener = (...args: unknown[]) => void;

/**
 * Tells the response's listeners of "drain", also where a layer outside has taken them over, as
 * compression does: there the response's own event does not reach them.
 */
export function drainer(res: ServerResponse): () => void {
  const emit = res.emit.bind(res);
  const taken = Object.hasOwn(res, "on") ? takenOver(res) : new Set<Listener>();
  return () => {
    for (const listener of taken) listener.call(res);
    emit("drain");
  };
}

function takenOver(res: ServerResponse): Set<Listener> {
  const listeners = new Set<Listener>();
  const on = res.on.bind(res) as (name: string | symbol, listener: Listener) => ServerResponse;
  const remove = res.removeListener.bind(res);
  res.on = ((name: string | symbol, listener: Listener) => {
    if (name === "drain") listeners.add(listener);
    return on(name, listener);
  }) as typeof res.on;
  res.removeListener = ((name: string | symbol, listener: Listener) => {
    listeners.delete(listener);
    return remove(name, listener);
  }) as typeof res.removeListener;
  return listeners;
}
