/** Circles of imports: files that need each other, types counted: none can be read first. */
import { posix } from "node:path";
import { parseSync } from "oxc-parser";

/** The circles among these files, each as the path that leads back to its start. */
export function circlesIn(texts: ReadonlyMap<string, string>): readonly string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): void => {
    const start = way.indexOf(file);
    if (start !== -1) circles.push([...way.slice(start), file].join(" → "));
    if (start !== -1 || done.has(file)) return;
    for (const next of importedBy(file, texts.get(file) ?? "")) visit(next, [...way, file]);
    done.add(file);
  };
  for (const file of texts.keys()) visit(file, []);
  return circles;
}

function importedBy(file: string, text: string): readonly string[] {
  const { staticImports, staticExports } = parseSync(file, text).module;
  const requests = [
    ...staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...staticExports.flatMap(({ entries }) =>
      entries.flatMap(({ moduleRequest }) => moduleRequest?.value ?? []),
    ),
  ];
  const relative = requests.filter((request) => request.startsWith("."));
  return relative.map((request) => posix.join(posix.dirname(file), request));
}
