/**
 * One line on stderr while a race takes longer than a second. Own code: a race has phases and no
 * known length, so a progress bar's arithmetic would not fit, and this needs no dependency.
 */
import type { OnProgress } from "./plan.ts";

/** A progress line that shows only on a terminal, and is wiped by `end`. */
export function createProgress(
  stream: NodeJS.WriteStream,
  rounds: number,
): { readonly report: OnProgress; readonly end: () => void } {
  if (!stream.isTTY) return { report: () => undefined, end: () => undefined };
  const width = 20;
  let line = "";
  const draw = (): void => void stream.write(`\r\u001b[2K${line}`);
  let shown = false;
  const timer = setInterval(() => {
    shown = true;
    draw();
  }, 1000);
  timer.unref();
  return {
    report: ({ round, phase, answered, of }) => {
      const full = Math.round((answered / of) * width);
      const bar = `${"█".repeat(full)}${"░".repeat(width - full)}`;
      const which = rounds > 1 ? `round ${round}/${rounds} · ` : "";
      line = `${bar} ${which}${phase.replace("-", " ")} · ${answered} of ${of} answered`;
      if (shown) draw();
    },
    end: () => {
      clearInterval(timer);
      if (shown) stream.write("\r\u001b[2K");
    },
  };
}
