/** Every link of the documents leads somewhere: to a file, and to a heading where it names one. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const root = new URL("../", import.meta.url);
const documents = globSync("{*.md,docs/**/*.md}", { cwd: root });
const textOf = (url: URL): string =>
  readFileSync(url, "utf8")
    .replaceAll(/```.*?```/gs, "")
    .replaceAll(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()]/g, ""));

/** Targets of inline links and of reference definitions. */
function linksOf(text: string): readonly string[] {
  const inline = text.matchAll(/\]\(([^)\s]+)[^)]*\)/g);
  const references = text.matchAll(/^\[[^\]]+\]: (\S+)/gm);
  return [...inline, ...references].map(([, target = ""]) => target);
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text: string): readonly string[] {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** What is wrong with the links of one page. */
function faultsOf(text: string, page: URL): readonly string[] {
  return linksOf(text).flatMap((link) => {
    if (/^https?:/.test(link)) return [];
    const target = new URL(link, page);
    const anchor = target.hash.slice(1);
    target.hash = "";
    if (!existsSync(target)) return [`${link} leads nowhere`];
    if (anchor === "" || anchorsOf(textOf(target)).includes(anchor)) return [];
    return [`${link} names no heading`];
  });
}

it.each(documents)("every link of %s leads somewhere", (document) => {
  const page = new URL(document, root);
  expect(faultsOf(textOf(page), page)).toEqual([]);
});

it("finds links that lead nowhere, so that the check can fail", () => {
  const text = "[a](docs/nowhere.md) [b](docs/options.md#nothing) [c][d]\n\n[d]: docs/gone.md\n";
  const faults = ["docs/nowhere.md leads nowhere", "docs/options.md#nothing names no heading"];
  expect(faultsOf(text, root)).toEqual([...faults, "docs/gone.md leads nowhere"]);
});

it("every page of docs/ can be reached from the README", () => {
  const reached = new Set(["README.md"]);
  for (const document of reached) {
    const page = new URL(document, root);
    for (const link of linksOf(textOf(page))) {
      const path = new URL(link, page).href.replace(root.href, "").replace(/#.*/, "");
      if (documents.includes(path)) reached.add(path);
    }
  }
  expect(documents.filter((document) => !reached.has(document))).toEqual(["CHANGELOG.md"]);
});

it("the package carries what its README links to, but for the pages of this repository", () => {
  const { files } = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as {
    readonly files: readonly string[];
  };
  const links = linksOf(textOf(new URL("README.md", root))).filter(
    (link) => !/^https?:/.test(link),
  );
  const absent = links.filter((link) => !files.some((file) => link.startsWith(file)));
  expect([...new Set(absent)]).toEqual(["CONTRIBUTING.md"]);
});
