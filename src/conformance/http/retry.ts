/** The retry that most rules are about. What ran is asked first: running twice does the harm. */
import { checkReplay } from "./checks.ts";
import type { Ask, Intent } from "./route.ts";
import type { WireAnswer } from "./wire/answer-reader.ts";

export interface RetryOptions {
  /** What the retry changes of its request. Default: nothing. */
  readonly change?: Ask;
  /** How often the handler has run by then. Default 1. */
  readonly runs?: number;
  /** Who retries, for the sentence. Default `"The retry"`. */
  readonly who?: string;
}

/** Sends a retry; checks that it ran nothing and got the recorded answer, and returns it. */
export async function checkRetry(
  intent: Intent,
  first: WireAnswer,
  { change = {}, runs = 1, who = "The retry" }: RetryOptions = {},
): Promise<WireAnswer> {
  const retry = await intent.send(change);
  await intent.ran(runs);
  checkReplay(retry, first, who);
  return retry;
}
