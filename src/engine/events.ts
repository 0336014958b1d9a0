/**
 * What the engine tells an operator: one typed event for every outcome, never with a key, body,
 * scope or fingerprint.
 */

export type EngineEventKind =
  | "executed"
  | "released"
  | "replayed"
  | "conflict"
  | "waited"
  | "mismatch"
  | "in-doubt"
  | "resolved"
  | "takeover"
  | "lease-lost"
  | "complete-failed"
  | "store-unavailable"
  | "store-corrupt"
  | "redact-failed"
  | "seal-failed"
  | "bypassed"
  | "key-missing"
  | "key-invalid";

export interface EngineEvent {
  readonly kind: EngineEventKind;
  /** What was asked for, e.g. `POST /payments`. */
  readonly operation: string;
  /** Which claim of the record, where there is one. */
  readonly attempt?: number;
  /** The error behind it, where there is one. */
  readonly cause?: unknown;
}
export type EventListener = (event: EngineEvent) => void;

export interface Events {
  emit(event: EngineEvent): void;
  /** Adds a listener; returns what removes it. */
  subscribe(listener: EventListener): () => void;
}

/**
 * Listeners in order of subscription. One that throws changes nothing for the request (B-114): a
 * warning tells.
 */
export function createEvents(first?: EventListener): Events {
  const listeners = new Set<EventListener>(first === undefined ? [] : [first]);
  return {
    emit: (event) => {
      for (const listener of listeners) deliver(listener, event);
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function deliver(listener: EventListener, event: EngineEvent): void {
  try {
    listener(event);
  } catch (error) {
    // Workers know no warnings before the compatibility date 2025-09-15: nothing may depend on one.
    process.emitWarning?.(
      `An event listener threw on "${event.kind}": ${String(error)}`,
      "LatchkeyWarning",
    );
  }
}
