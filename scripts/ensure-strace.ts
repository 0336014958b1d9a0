// Finds strace, or gets it: PATH, apt-get. For the tests that cut a machine's power: they follow
// what reached its disk. Linux only, where the user may trace processes.

import { installByApt, run, succeeds } from "./programs.ts";

/** The one line a machine gets on which nothing can be traced. */
export const NO_STRACE: string =
  "No strace that works: install it on a Linux (apt-get install strace) and allow ptrace.";

/** The name of an strace that works here, installed where apt-get may; `undefined` without one. */
export function ensureStrace(): string | undefined {
  if (process.platform !== "linux") return undefined;
  const works = (): boolean => succeeds(run("strace", ["-D", "-o", "/dev/null", "true"], 10_000));
  return works() || (installByApt("strace") && works()) ? "strace" : undefined;
}
