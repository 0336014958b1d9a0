/** The start-up proof of a Redis client: it passes commands and their bytes through unchanged. */
import { LatchkeyError } from "../../errors.ts";
import { comesThrough } from "../self-test.ts";
import type { Store } from "../store.ts";

/** Rejects with `store-unsuitable` unless values, conditions and expiries come through. */
export async function checkClient(store: Store): Promise<void> {
  if (await comesThrough(store)) return;
  throw new LatchkeyError(
    "store-unsuitable",
    "The Redis client failed the self-test: claims, bytes or expiries came through changed. " +
      "Use the client as its package gives it, without transforming wrappers.",
  );
}
