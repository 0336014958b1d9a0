/** What several rounds say together: the verdict, the round worth showing, the headline. */
import type { Verdict } from "./judge.ts";
import type { Round } from "./plan.ts";

/** One round is enough to prove an endpoint unsafe; all are needed to call it safe. */
export function verdictOf(rounds: readonly Round[]): Verdict {
  const verdicts = new Set(rounds.map((round) => round.judgement.verdict));
  if (verdicts.has("unsafe")) return "unsafe";
  return verdicts.has("unknown") || rounds.length === 0 ? "unknown" : "safe";
}

/** The first round that has the common verdict. */
export function shownRound(rounds: readonly Round[]): Round {
  const verdict = verdictOf(rounds);
  const round = rounds.find((one) => one.judgement.verdict === verdict);
  if (round === undefined) throw new TypeError("A race has at least one round; got none.");
  return round;
}

const unreachable = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH/;

/** Why nothing answered at all, where no connection came about; `undefined` where one did. */
export function unreachedOf(rounds: readonly Round[]): string | undefined {
  const all = rounds.flatMap(({ observations }) => observations);
  const isUnreached = all.every(({ error }) => error !== undefined && unreachable.test(error));
  return isUnreached ? all[0]?.error : undefined;
}

/** The verdict in one line. */
export function headlineOf(rounds: readonly Round[]): {
  readonly verdict: Verdict;
  readonly headline: string;
} {
  const verdict = verdictOf(rounds);
  switch (verdict) {
    case "safe":
      return { verdict, headline: "SAFE: one key, one execution, whatever was sent." };
    case "unsafe":
      return { verdict, headline: "UNSAFE: this endpoint does not hold what a key promises." };
    case "unknown": {
      const why = unreachedOf(rounds);
      if (why !== undefined) {
        return { verdict, headline: `COULD NOT TELL: nothing answers there: ${why}.` };
      }
      return { verdict, headline: "COULD NOT TELL: the answers prove neither safe nor unsafe." };
    }
  }
}

/** How the rounds ended, counted. */
export function summaryOf(rounds: readonly Round[]): string {
  const count = (verdict: Verdict): number =>
    rounds.filter((round) => round.judgement.verdict === verdict).length;
  const [safe, unsafe, unknown] = [count("safe"), count("unsafe"), count("unknown")];
  return `${rounds.length} rounds: ${safe} safe, ${unsafe} unsafe, ${unknown} could not tell.`;
}
