/** Every rule, by section. A number that is missing here (B-18, B-90) was never given. */
import type { Section } from "../rule.ts";
import { contract } from "./contract.ts";
import { failures } from "./failures.ts";
import { first } from "./first.ts";
import { inFlight } from "./in-flight.ts";
import { isolation } from "./isolation.ts";
import { keys } from "./keys.ts";
import { leases } from "./leases.ts";
import { mismatch } from "./mismatch.ts";
import { replay } from "./replay.ts";
import { size } from "./size.ts";
import { storeFailures } from "./store-failures.ts";

export const sections: readonly Section[] = [
  keys,
  first,
  replay,
  inFlight,
  mismatch,
  failures,
  leases,
  storeFailures,
  isolation,
  size,
  contract,
];
