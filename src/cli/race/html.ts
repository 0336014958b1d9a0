/** A race as one self-contained page. What a lane says is decided in lanes.ts. */
import { escapeHtml, webPage } from "../web-page.ts";
import { lanesOf, readableMs } from "./lanes.ts";
import type { Lane } from "./lanes.ts";
import type { RaceSettings, Round } from "./plan.ts";
import { headlineOf, shownRound, summaryOf } from "./summary.ts";

const style = `
:root { --executed: var(--good); --replayed: #2b8cbe; --same: var(--unsure);
  --differs: var(--bad); --refused: #6a6fcf; --failed: #b0459b; }
.lane { display: grid; grid-template-columns: minmax(8rem, 3fr) 2fr; gap: .3rem 1rem;
  border-bottom: 1px solid var(--line); padding: .2rem 0; align-items: center; }
.track { position: relative; height: 1rem; } .bar { position: absolute; inset-block: 0;
  min-width: 3px; border-radius: 2px; }
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
  const title = `${settings.method} ${settings.url.href}`;
  const { checks, notes } = round.judgement;
  const body = `<h1>${escapeHtml(title)}</h1>
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
  .join("\n")}`;
  return webPage({ title: `Race: ${title}`, style, body });
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
