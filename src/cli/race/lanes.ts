/**
 * A round as lanes of a time line: which requests get a row, in which words and at which instants.
 * Terminal and HTML draw the same lanes; neither colours nor widths live here.
 */
import { isMarked } from "./judge.ts";
import type { Outcome } from "./judge.ts";
import type { Observation, Phase } from "./observation.ts";
import type { Round } from "./plan.ts";

/** One row: a request, or several of one phase that had the same outcome. */
export interface Lane {
  readonly outcome: Outcome;
  readonly count: number;
  readonly startMs: number;
  readonly endMs: number;
  /** The status, or why there was none. */
  readonly status: string;
  readonly words: string;
}

/** The rows of one phase under its title. */
export interface LaneGroup {
  readonly title: string;
  readonly lanes: readonly Lane[];
}

const titles: readonly (readonly [Phase, string])[] = [
  ["together", "sent together"],
  ["retry", "retry after completion"],
  ["burst", "burst of retries"],
  ["other-body", "same key, another body"],
  ["control", "control: another key"],
];
// More rows than this are not read; equal neighbours are then drawn as one.
const mostRows = 8;

/** The groups of a round, in the order in which they were sent. */
export function lanesOf({ observations, judgement }: Round): readonly LaneGroup[] {
  const groups: LaneGroup[] = [];
  for (const [phase, title] of titles) {
    const lanes = observations.flatMap((one, index) => {
      const outcome = judgement.outcomes[index];
      return one.phase === phase && outcome !== undefined ? [laneOf(one, outcome)] : [];
    });
    if (lanes.length === 0) continue;
    const name = phase === "together" || phase === "burst" ? `${lanes.length} ${title}` : title;
    groups.push({ title: name, lanes: lanes.length > mostRows ? fold(lanes) : lanes });
  }
  return groups;
}

function laneOf(one: Observation, outcome: Outcome): Lane {
  const status = one.status === undefined ? "---" : String(one.status);
  const { startMs, endMs } = one;
  return { outcome, count: 1, startMs, endMs, status, words: wordsFor(one, outcome) };
}

function wordsFor(one: Observation, outcome: Outcome): string {
  switch (outcome) {
    case "executed":
      return one.phase === "control" ? "answered" : "executed";
    case "replayed":
      return isMarked(one) ? "replayed, bytes equal" : "bytes equal, no marker";
    case "same":
      return "bytes equal: replayed, or run again?";
    case "differs":
      return "replayed, BYTES DIFFER";
    case "refused":
      return "refused";
    case "failed":
      return one.error ?? "failed";
  }
}

/** One lane for each outcome, status and wording, keeping the first of each in its place. */
function fold(lanes: readonly Lane[]): readonly Lane[] {
  const folded = new Map<string, Lane>();
  for (const lane of lanes) {
    const kind = `${lane.status} ${lane.words}`;
    const before = folded.get(kind) ?? { ...lane, count: 0 };
    folded.set(kind, {
      ...before,
      count: before.count + 1,
      startMs: Math.min(before.startMs, lane.startMs),
      endMs: Math.max(before.endMs, lane.endMs),
    });
  }
  return [...folded.values()];
}

/** Ms as people read them: `0.8 ms`, `34 ms`, `2.01 s`. */
export function readableMs(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
