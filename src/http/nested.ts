/**
 * Two layers on the way of one request that would claim the same record. The inner one would find
 * the outer one's claim, refuse the request as its own duplicate, and the outer one would record
 * that refusal as the outcome. Only the mistake is found here; admission is beside.
 */
import type { Engine } from "../engine/engine.ts";

/** What a layer claims: together they name a record of an engine. */
export interface Claimed {
  readonly operation: string;
  readonly scope: string;
  readonly key: string;
}

interface Layer extends Claimed {
  readonly engine: Engine;
}

const layersOf = new WeakMap<object, readonly Layer[]>();

/**
 * Throws an `Error` where a layer outside of this one executes the same record for this request.
 * `request` is the same object for every layer.
 */
export function refuseNested(request: object, engine: Engine, claimed: Claimed): void {
  const { operation, scope, key } = claimed;
  const outer = layersOf.get(request)?.some((layer) => {
    const isRecord = layer.operation === operation && layer.key === key && layer.scope === scope;
    return isRecord && layer.engine === engine;
  });
  if (outer !== true) return;
  throw new Error(
    `The route ${operation} is protected twice, so each request would be its own duplicate. ` +
      "Let one idempotent() stand before it.",
  );
}

/** Remembers that a layer executes this request. */
export function enterLayer(request: object, engine: Engine, claimed: Claimed): void {
  const { operation, scope, key } = claimed;
  const layer = { engine, operation, scope, key };
  layersOf.set(request, [...(layersOf.get(request) ?? []), layer]);
}
