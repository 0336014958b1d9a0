/**
 * What the web pages of the commands share: one self-contained file, no script, no external
 * request, light and dark. What a page tells is its command's matter.
 */
import { writeFileSync } from "node:fs";

const style = `
:root { color-scheme: light dark; --line: #8884; --good: light-dark(#137a40, #46c084);
  --bad: light-dark(#c62617, #ff6f5e); --unsure: #c99700; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#fff, #16181c); color: light-dark(#1c1e21, #e6e6e6); }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; } h2 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
.verdict { padding: .6rem .9rem; border-left: .4rem solid var(--unsure); font-weight: 600; }
.verdict.safe { border-color: var(--good); } .verdict.unsafe { border-color: var(--bad); }
.small { opacity: .75; font-size: .9em; }
`;

export interface WebPage {
  readonly title: string;
  /** Beside the style that all pages have. */
  readonly style: string;
  /** HTML, every foreign text in it escaped. */
  readonly body: string;
}

/** The whole page. */
export function webPage({ title, style: own, body }: WebPage): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${style}${own}</style></head>
<body>
${body}
</body>
</html>
`;
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

/** Writes a page to a file; throws `TypeError` where it cannot. */
export function writePage(file: string, page: string): void {
  try {
    writeFileSync(file, page);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TypeError(`The page could not be written: ${reason}.`, { cause: error });
  }
}
