/**
 * Results as they lie in the application's store: its keys and its secret come from the
 * environment, since what stands on a command line stays in the shell's history.
 */
import type { Engine, EngineOptions } from "../../engine/engine.ts";
import { compressed, encrypted } from "../../engine/results/results.ts";
import { decodeEnvelope } from "../../engine/values/codec.ts";
import type { Store } from "../../stores/store.ts";

/**
 * The engine's options from `LATCHKEY_SECRET` and `LATCHKEY_RESULT_KEYS` (`id=base64`, several with
 * commas; the first one seals). Throws `TypeError` when they are malformed.
 */
export function atRest(
  env: Readonly<Record<string, string | undefined>>,
): Pick<EngineOptions, "results" | "secret"> {
  const { LATCHKEY_SECRET: secret = "", LATCHKEY_RESULT_KEYS: list = "" } = env;
  const keys = list.split(",").filter(Boolean).map(keyOf);
  const [first] = keys;
  // Reads what is compressed, and compresses nothing: every application can read that.
  const reading = compressed({ minBytes: Infinity });
  const sealing =
    first === undefined ? [] : [encrypted({ keys: Object.fromEntries(keys), current: first[0] })];
  return { results: [reading, ...sealing], ...(secret === "" ? {} : { secret }) };
}

function keyOf(text: string): readonly [string, Buffer] {
  // 32 bytes are 43 characters and one of padding.
  const [, id, key] = /^([^=]+)=([\w+/-]{43})=?$/.exec(text.trim()) ?? [];
  if (id !== undefined && key !== undefined) return [id, Buffer.from(key, "base64")];
  throw new TypeError("LATCHKEY_RESULT_KEYS must be id=KEY, KEY being 32 bytes in base64.");
}

const looksAt = 5;

/**
 * Throws when this store seals its results and we have no keys: what we wrote in clear, the
 * application would refuse to read, for good.
 */
export async function demandKeys(store: Store, engine: Engine): Promise<void> {
  const { records } = await store.list({ state: "completed", limit: looksAt });
  for (const { id } of records.slice(0, looksAt)) {
    const found = await engine.find(id);
    if (found?.record.state !== "completed" || isReadable(found.record.result)) continue;
    throw new TypeError(
      "The results in this store are sealed. Set LATCHKEY_RESULT_KEYS as the application has them.",
    );
  }
}

/** Whether a result is in clear, and of this version. */
export function isReadable(result: Uint8Array): boolean {
  try {
    decodeEnvelope(result);
    return true;
  } catch {
    return false;
  }
}
