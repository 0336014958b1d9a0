/** The permissions that docs/stores/redis.md lists, by what they are for. */
import { readFileSync } from "node:fs";

const page = new URL("../../docs/stores/redis.md", import.meta.url);

/** Rows of the page's table, in its order. */
export function documentedPermissions(): ReadonlyMap<string, readonly string[]> {
  const [, section = ""] = readFileSync(page, "utf8").split("## An ACL user");
  const [table = ""] = section.split("```text");
  const rows = [...table.matchAll(/^\| (.+?) \| (`.+`) \|$/gm)];
  return new Map(
    rows.map(([, purpose = "", cells = ""]) => [
      purpose,
      [...cells.replaceAll("\\|", "|").matchAll(/`([~&+][^`]+)`/g)].map(([, one]) => String(one)),
    ]),
  );
}
