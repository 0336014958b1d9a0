/**
 * The public door: the engine, plain functions, errors and types. Stores and adapters have doors
 * of their own.
 */
export { createEngine, engineDefaults } from "./engine/engine.ts";
export type { Engine, EngineOptions } from "./engine/engine.ts";
export type { Admission, Intent } from "./engine/begin.ts";
export type { RunRequest, TransactionRequest } from "./engine/plain/run.ts";
export { idempotent } from "./engine/plain/wrap.ts";
export type { WrapOptions } from "./engine/plain/wrap.ts";
export type { Begin, Transactions } from "./engine/transaction/transactions.ts";
export type { Claim } from "./engine/claim.ts";
export type { Step, StepContext } from "./engine/steps.ts";
export type { FoundRecord, Operator, Target } from "./engine/operators/operator.ts";
export type { Word } from "./engine/operators/word.ts";
export type { Settled } from "./engine/settle.ts";
export type { EngineEvent, EngineEventKind, EventListener, Events } from "./engine/events.ts";
export type { Runtime } from "./engine/runtime.ts";
export { isLatchkeyError, LatchkeyError } from "./errors.ts";
export type { ErrorCode, LatchkeyErrorOptions } from "./errors.ts";
export type { Duration } from "./duration.ts";
export type { RecordId, Resolution, StoredRecord } from "./machine/record.ts";
export type {
  Completion,
  ListedRecord,
  ListQuery,
  Note,
  NotePage,
  NoteReason,
  PageQuery,
  RecordPage,
  Store,
} from "./stores/store.ts";
