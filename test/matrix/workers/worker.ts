/** The battery as a Worker. Its state is that of one isolate. */
import { memoryStore } from "latchkey/memory";
import { createBattery } from "../support/battery.ts";

interface Context {
  waitUntil(work: Promise<unknown>): void;
}

const battery = createBattery<[env: object, ctx: Context]>(() => memoryStore());
export default { fetch: battery };
