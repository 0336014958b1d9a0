/** Where commands draw: colours follow NO_COLOR and the stream; foreign text is made harmless. */
import { styleText } from "node:util";

export type Style = Parameters<typeof styleText>[0];

/** Where a drawing goes. */
export interface Canvas {
  /** Columns; 40 at least are used. */
  readonly columns: number;
  /** Paints text, or returns it as it is. */
  readonly paint: (style: Style, text: string) => string;
}

/** The canvas of a stream; 80 columns (or `columns`) when it has none. */
export function canvasOf(stream: NodeJS.WriteStream, columns = 80): Canvas {
  return {
    columns: stream.columns ?? columns,
    paint: (style, text) => styleText(style, text, { stream }),
  };
}

/**
 * Lets a command go on when whoever read its output has left (`| head`), so that its exit code
 * still tells what came of its work. Other failures of the stream end the process, as always.
 */
export function mayGoUnread(stream: NodeJS.WriteStream): void {
  if (stream.listeners("error").includes(ignoreClosedPipe)) return;
  stream.on("error", ignoreClosedPipe);
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

/** Foreign text on one line: control characters would reach the terminal otherwise. */
export function plainText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, "?");
}
