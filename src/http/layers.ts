/**
 * The layers that execute a request: one, as a rule. With one engine a second one would find the
 * outer one's claim and refuse the request as its own duplicate: that mistake is found here. With
 * two engines (from one store to another) both may stand, and what the inner one refuses is no
 * outcome of the outer one. Admission is beside.
 */
import type { Engine } from "../engine/engine.ts";
import type { Execution } from "./execution.ts";

/** What a layer claims: together they name a record of an engine. */
export interface Claimed {
  readonly operation: string;
  readonly scope: string;
  readonly key: string;
}

interface Layer extends Claimed {
  readonly engine: Engine;
  readonly execution: Execution;
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
export function enterLayer(request: object, layer: Layer): void {
  layersOf.set(request, [...(layersOf.get(request) ?? []), layer]);
}

/** The layer answers by itself, and not with an outcome: what is outside must not record that. */
export function skipOuter(request: object): void {
  for (const { execution } of layersOf.get(request) ?? []) execution.idempotency.skip();
}

/** The handler of this request has thrown, where the framework tells that apart from the layer. */
export function failLayers(request: object): void {
  for (const { execution } of layersOf.get(request) ?? []) execution.fail();
}
