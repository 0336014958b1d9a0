/**
 * A step in a transaction of its own, under a claim that has a lease: its writes and its record are
 * committed together.
 */
import type { Fingerprint, OwnerToken, RecordId } from "../../machine/record.ts";
import type { Store } from "../../stores/store.ts";
import type { ResultCodec } from "../results/result-codec.ts";
import type { Runtime } from "../runtime.ts";
import type { StepInTransaction } from "../steps.ts";
import { persist, withDeadline } from "../store-call.ts";
import { checkTransactional, open, storeWithin } from "./transactions.ts";

/** The claim that the step is under. */
export interface StepContext {
  readonly store: Store;
  readonly runtime: Runtime;
  readonly results: ResultCodec;
  readonly id: RecordId;
  readonly fingerprint: Fingerprint;
  readonly owner: OwnerToken;
  readonly leaseMs: number;
  readonly storeTimeoutMs: number;
}

export interface StepWithin extends StepInTransaction {
  /** Another owner has the claim: the error to reject with. */
  readonly onLost: () => Error;
}

/** Resolves after the COMMIT; rejects when nothing was committed, or nobody knows. */
export async function stepWithin(context: StepContext, step: StepWithin): Promise<void> {
  const { store, runtime, id, fingerprint, owner, storeTimeoutMs } = context;
  checkTransactional(store);
  if (step.isUnsure && (await isRecorded(context, step))) return;
  const { transaction, client, commit, rollback } = await open(context, step.transactions);
  try {
    const { name } = step;
    const bytes = await step.work(transaction);
    const result = context.results.seal(bytes, { id, fingerprint, part: ["step", name] });
    const within = storeWithin(store, client);
    const record = () => within.step(id, { owner, name, result });
    // Last, so that the row is locked for no longer than the COMMIT: the heartbeat needs it, too.
    const reply = await withDeadline(runtime, storeTimeoutMs, record);
    if (reply.kind === "lease-lost") throw step.onLost();
  } catch (error) {
    await rollback();
    throw error;
  }
  try {
    await commit();
  } catch (error) {
    if (!(await isRecorded(context, step))) throw error;
  }
}

/**
 * Asks on another connection. The renewal waits for the row's lock, and with it for the end of the
 * transaction, should that be still under way.
 */
function isRecorded(context: StepContext, { name, onLost }: StepWithin): Promise<boolean> {
  const { store, runtime, id, owner, leaseMs, storeTimeoutMs } = context;
  const call = async (): Promise<boolean> => {
    const reply = await store.renew(id, owner, leaseMs);
    if (reply.kind === "lease-lost") throw onLost();
    const record = await store.get(id);
    const steps = record !== undefined && "steps" in record ? record.steps : undefined;
    return Object.hasOwn(steps ?? {}, name);
  };
  return persist(runtime, { call, limitMs: storeTimeoutMs, patienceMs: leaseMs });
}
