/** What the operators' commands print: JSON without owner tokens, fingerprints and bytes. */
import type { RecordId, StoredRecord } from "../../machine/record.ts";
import type { ListedRecord } from "../../stores/store.ts";

/** A record as JSON shows it: steps by name; no owner, fingerprint or result. */
export function jsonOf({
  id,
  record,
}: {
  readonly id: RecordId;
  readonly record: StoredRecord | ListedRecord;
}): object {
  const hidden = { steps: undefined, result: undefined, owner: undefined, fingerprint: undefined };
  const shown = Object.entries({ id, ...record }).filter(([name]) => !(name in hidden));
  const steps = "steps" in record && record.steps !== undefined ? Object.keys(record.steps) : [];
  return Object.fromEntries(steps.length === 0 ? shown : [...shown, ["steps", steps]]);
}

export function writeJson(value: object): void {
  write(`${JSON.stringify(value, undefined, 2)}\n`);
}

export function write(text: string): void {
  process.stdout.write(text);
}
