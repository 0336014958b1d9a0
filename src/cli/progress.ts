/**
 * One line on stderr while a command takes longer than a second. Own code: what is shown has phases
 * and no known length, so a progress bar's arithmetic would not fit, and this needs no dependency.
 */

/** How far the work is: a bar of `done` out of `of`, and words behind it. */
export interface Step {
  readonly done: number;
  readonly of: number;
  readonly words: string;
}
export interface Progress {
  readonly report: (step: Step) => void;
  readonly end: () => void;
}

/** A progress line that shows only on a terminal, and is wiped by `end`. */
export function createProgress(stream: NodeJS.WriteStream): Progress {
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
    report: ({ done, of, words }) => {
      const full = Math.round((done / of) * width);
      const room = Math.max(0, (stream.columns ?? 80) - width - 2);
      line = `${"█".repeat(full)}${"░".repeat(width - full)} ${words.slice(0, room)}`;
      if (shown) draw();
    },
    end: () => {
      clearInterval(timer);
      if (shown) stream.write("\r\u001b[2K");
    },
  };
}
