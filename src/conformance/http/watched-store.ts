/** A store that stands before a sound one: it notes its calls, and fails where a rule needs it. */
import type { Store } from "../../stores/store.ts";

/** A call of a store: its name, and everything it was given. */
export interface StoreCall {
  readonly name: string;
  readonly given: readonly unknown[];
}

/** Instead of a call: `call` reaches the sound store. */
export type Fault = (call: () => Promise<unknown>) => Promise<unknown>;

export interface WatchedStore {
  /** The calls so far that reached this store, `claim` to `release`, in order. */
  readonly calls: readonly StoreCall[];
  /** For `Setup.store`. */
  readonly watch: (sound: Store) => Store;
  /** Makes every further call of this name fail in this way; `undefined` heals it. */
  readonly fail: (name: keyof Store, fault: Fault | undefined) => void;
}

/** What a store rejects with that nobody can reach. */
export const isDown: Fault = () => Promise.reject(new Error("The rule made the store fail."));

/** A watch over one store; sound until `fail` says otherwise. */
export function watchedStore(): WatchedStore {
  const calls: StoreCall[] = [];
  const faults = new Map<string | symbol, Fault>();
  const watch = (sound: Store): Store =>
    new Proxy(sound, {
      get: (target, name) => {
        const found: unknown = Reflect.get(target, name);
        if (typeof found !== "function") return found;
        return (...given: readonly unknown[]): unknown => {
          calls.push({ name: String(name), given });
          const call = (): Promise<unknown> => Reflect.apply(found, target, given) as never;
          return (faults.get(name) ?? straight)(call);
        };
      },
    });
  const fail: WatchedStore["fail"] = (name, fault) => {
    if (fault === undefined) faults.delete(name);
    else faults.set(name, fault);
  };
  return { calls, watch, fail };
}

const straight: Fault = (call) => call();
