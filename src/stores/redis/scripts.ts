/**
 * The scripts as Redis runs them: a head, the shared prelude and one command's body, called by
 * digest.
 */
import { hash } from "node:crypto";
import type { Argument, Send } from "./client.ts";
import { isNoScript } from "./client.ts";
import type { Reply } from "./replies.ts";
import * as lua from "./scripts.generated.ts";

export type ScriptName =
  | "claim"
  | "renew"
  | "commit"
  | "step"
  | "complete"
  | "release"
  | "resolve"
  | "get"
  | "note";
export interface Script {
  readonly text: string;
  readonly digest: string;
}

/** All scripts over a prelude; tests hand in one with a clock of their own. */
export function composeScripts(prelude: string = lua.record): Readonly<Record<ScriptName, Script>> {
  // What an owner needs to finish its work must pass in a full Redis; a claim must not.
  const finishing = "#!lua flags=allow-oom\n";
  return {
    claim: script("#!lua\n", prelude, lua.claim),
    renew: script(finishing, prelude, lua.renew),
    commit: script(finishing, prelude, lua.commit),
    step: script(finishing, prelude, lua.step),
    complete: script(finishing, prelude, lua.complete),
    release: script(finishing, prelude, lua.release),
    resolve: script(finishing, prelude, lua.resolve),
    get: script(finishing, prelude, lua.get),
    note: script(finishing, prelude, lua.note),
  };
}

function script(head: string, prelude: string, body: string): Script {
  const text = `${head}${prelude}\n${body}`;
  return { text, digest: hash("sha1", text, "hex") };
}

/** Runs a script on one key; sends its text only when Redis does not know it. */
export async function runScript(
  send: Send,
  { text, digest }: Script,
  args: readonly Argument[],
): Promise<Reply> {
  try {
    return (await send("EVALSHA", [digest, "1", ...args])) as Reply;
  } catch (error) {
    if (!isNoScript(error)) throw error;
  }
  return (await send("EVAL", [text, "1", ...args])) as Reply;
}
