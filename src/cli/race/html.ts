/**
 * A race as one self-contained page: no script, no external request, light and dark. What a lane
 * says is decided in lanes.ts.
 */
import { lanesOf, readableMs } from "./lanes.ts";
import type { Lane } from "./lanes.ts";
import type { RaceSettings, Round } from "./plan.ts";
import { headlineOf, shownRound, summaryOf } from "./summary.ts";

const style = `
:root { color-scheme: light dark; --line: #8884; --executed: #1a9850; --replayed: #2b8cbe;
  --same: #c99700; --differs: #d7301f; --refused: #6a6fcf; --failed: #b0459b; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#fff, #16181c); color: light-dark(#1c1e21, #e6e6e6); }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; } h2 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.verdict { padding: .6rem .9rem; border-left: .4rem solid var(--same); font-weight: 600; }
.safe { border-color: var(--executed); } .unsafe { border-color: var(--differs); }
.lane { display: grid; grid-template-columns: minmax(8rem, 3fr) 2fr; gap: .3rem 1rem;
  border-bottom: 1px solid var(--line); padding: .2rem 0; align-items: center; }
.track { position: relative; height: 1rem; } .bar { position: absolute; inset-block: 0;
  min-width: 3px; border-radius: 2px; } .small { opacity: .75; font-size: .9em; }
.axis { display: flex; justify-content: space-between; } li { margin: .2rem 0; }
${["executed", "replayed", "same", "differs", "refused", "failed"]
  .map((outcome) => `.${outcome} { background: var(--${outcome}); }`)
  .join("\n")}
`;

/** The whole page. */
export function raceHtml(settings: RaceSettings, rounds: readonly Round[]): string {
  const round = shownRound(rounds);
  const { verdict, headline } = headlineOf(rounds);
  const groups = lanesOf(round);
  const endMs = Math.max(1, ...groups.flatMap(({ lanes }) => lanes.map((lane) => lane.endMs)));
  const title = escapeHtml(`${settings.method} ${settings.url.href}`);
  const { checks, notes } = round.judgement;
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Race: ${title}</title><style>${style}</style></head>
<body>
<h1>${title}</h1>
<p class="small">Idempotency-Key: ${escapeHtml(round.key)}</p>
<p class="verdict ${verdict}">${escapeHtml(headline)}</p>
${rounds.length > 1 ? `<p>${escapeHtml(summaryOf(rounds))}</p>` : ""}
<ul>
${checks
  .map(({ question, answer, sentence }) => {
    return `<li><b>${escapeHtml(question)}: ${answer}.</b> ${escapeHtml(sentence)}</li>`;
  })
  .join("\n")}
</ul>
${notes.map((note) => `<p class="small">${escapeHtml(note)}</p>`).join("\n")}
<div class="lane small">
<div class="axis"><span>0</span><span>${readableMs(endMs)}</span></div>
</div>
${groups
  .map(({ title: name, lanes }) => {
    const rows = lanes.map((lane) => laneHtml(lane, endMs)).join("\n");
    return `<h2>${escapeHtml(name)}</h2>\n${rows}`;
  })
  .join("\n")}
</body>
</html>
`;
}

function laneHtml(lane: Lane, endMs: number): string {
  const left = ((lane.startMs / endMs) * 100).toFixed(2);
  const width = (((lane.endMs - lane.startMs) / endMs) * 100).toFixed(2);
  const count = lane.count > 1 ? `${lane.count} × ` : "";
  const took = readableMs(lane.endMs - lane.startMs);
  const words = escapeHtml(`${count}${lane.status} · ${took} · ${lane.words}`);
  const bar = `<div class="bar ${lane.outcome}" style="left:${left}%;width:${width}%"></div>`;
  return `<div class="lane"><div class="track">${bar}</div><div>${words}</div></div>`;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text made harmless in element content and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}
