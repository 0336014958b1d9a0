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

/** Foreign text on one line: control characters would reach the terminal otherwise. */
export function plainText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, "?");
}
