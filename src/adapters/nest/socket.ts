/**
 * The socket as a handler of Nest sees it. Nest watches the request's socket and, when it closes,
 * drops the Observable or the stream that a handler has returned; here it sees the socket close
 * when the response is over, so that a client that leaves changes nothing (B-76).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

type Listener = (...args: unknown[]) => void;

/** Puts the shield before the socket of a request whose response is tapped. */
export function shieldSocket(req: IncomingMessage, res: ServerResponse): void {
  const { socket } = req;
  const shown: Readonly<Record<string | symbol, unknown>> = {
    once: (name: string, listener: Listener) => {
      (name === "close" ? res : socket).once(name, listener);
      return req.socket;
    },
    removeListener: (name: string, listener: Listener) => {
      socket.removeListener(name, listener);
      res.removeListener(name, listener);
      return req.socket;
    },
  };
  const get = (target: Socket, name: string | symbol): unknown => {
    // The tap shows the response as destroyed only after its end.
    if (name === "destroyed") return target.destroyed && res.destroyed;
    if (Object.hasOwn(shown, name)) return shown[name];
    const value: unknown = Reflect.get(target, name, target);
    return typeof value === "function" ? (value.bind(target) as unknown) : value;
  };
  const set = (target: Socket, name: string | symbol, value: unknown): boolean =>
    Reflect.set(target, name, value, target);
  req.socket = new Proxy(socket, { get, set });
}
