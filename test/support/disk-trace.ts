/**
 * What a machine's disk holds for certain at an instant: the files as they were, and what was
 * written and synchronised since, read from a trace of the system calls of whoever writes. What
 * else was written may be on it or not.
 */
import { closeSync, existsSync, ftruncateSync, openSync } from "node:fs";
import { renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const placed = ["pwrite64", "pwritev", "ftruncate"];
const unplaced = ["pwritev2", "write", "writev"];
const naming = ["rename", "unlink"];
const syncing = ["fsync", "fdatasync"];
const hearing = ["recvfrom", "read"];

/** The command that follows a program, its threads and its children; it goes before the program. */
export function tracing(strace: string, file: string): readonly string[] {
  const calls = [...placed, ...unplaced, ...naming, ...syncing, ...hearing].join(",");
  // -D: the program stays our child; -y: paths beside descriptors; -xx and -s: every byte, in hex.
  return [strace, "-D", "-f", "-y", "-xx", "-s", "9000000", "-e", `trace=${calls}`, "-o", file];
}

/** One system call; `since` is how many had ended when it began. */
interface Call {
  readonly name: string;
  /** The file of the descriptor, or the first path. */
  readonly path: string;
  readonly texts: readonly Buffer[];
  /** The offset, or the length of what is truncated; `NaN` where the call does not tell. */
  readonly at: number;
  readonly since: number;
}

/** The calls that succeeded, in the order in which they ended. */
export type DiskTrace = readonly Call[];

/** Reads what `tracing` has written. */
export function readTrace(text: string): DiskTrace {
  const calls: Call[] = [];
  const open = new Map<string, { readonly line: string; readonly since: number }>();
  for (const line of text.split("\n")) {
    const [, pid = "", rest = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const [, tail] = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest) ?? [];
    if (rest.endsWith("<unfinished ...>")) {
      open.set(pid, { line: rest.slice(0, -"<unfinished ...>".length), since: calls.length });
    } else if (tail === undefined) {
      calls.push(...callOf(rest, calls.length));
    } else {
      const begun = open.get(pid);
      if (begun !== undefined) calls.push(...callOf(begun.line + tail, begun.since));
    }
  }
  return calls;
}

function callOf(line: string, since: number): readonly Call[] {
  const [, name = "", rest = ""] = /^(\w+)\((.*)$/.exec(line) ?? [];
  if (name === "" || /= -1 |= \?/.test(rest.slice(-80))) return [];
  const texts = [...rest.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = ""]) => bytesOf(hex));
  const [, file] = /^\d+<((?:\\x[0-9a-f]{2})*)>/.exec(rest) ?? [];
  const path = file === undefined ? texts[0] : bytesOf(file);
  const [, last] = /, (\d+) *\) += \d+$/.exec(rest) ?? [];
  const at = placed.includes(name) ? Number(last) : Number.NaN;
  return [{ name, path: String(path), texts, at, since }];
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll("\\x", ""), "hex");
}

/** How many of the calls had ended once these words had been said or heard; `Infinity`: never. */
export function whenHeard(trace: DiskTrace, words: string): number {
  const index = trace.findIndex(
    ({ name, texts }) =>
      (name === "write" || hearing.includes(name)) && texts.some((text) => text.includes(words)),
  );
  return index === -1 ? Number.POSITIVE_INFINITY : index + 1;
}

/** Something done to a file, and whether it has reached the disk. */
interface Change {
  readonly index: number;
  readonly call: Call;
  isSynced: boolean;
}

export interface PowerCut {
  /** The folder whose files were traced. */
  readonly folder: string;
  /** How many of the calls had ended when the folder was at rest, and when power was cut. */
  readonly between: readonly [number, number];
  /** Whether a change that was not synchronised has reached the disk all the same. */
  readonly survives: () => boolean;
}

/**
 * Makes of `copy`, the folder as it was when it was at rest, what a power cut leaves of it. New
 * names and removals are taken to be on the disk at once. Throws where it cannot tell.
 */
export function cutPower(trace: DiskTrace, copy: string, cut: PowerCut): void {
  const inCopy = (path: string): string => join(copy, path.slice(cut.folder.length));
  for (const [path, changes] of followNames(trace, cut, inCopy)) {
    const kept = changes.filter(({ isSynced, call }) => {
      return isSynced || (!Number.isNaN(call.at) && cut.survives());
    });
    if (kept.length > 0) apply(inCopy(path), kept);
  }
}

/** The changes of each file below the folder, under the name it has in the end. */
function followNames(
  trace: DiskTrace,
  { folder, between: [first, end] }: PowerCut,
  inCopy: (path: string) => string,
): ReadonlyMap<string, readonly Change[]> {
  const files = new Map<string, Change[]>();
  const move = (path: string, to: string | undefined): void => {
    const changes = files.get(path) ?? [];
    files.delete(path);
    if (to !== undefined) {
      files.set(to, changes);
      if (existsSync(inCopy(path))) renameSync(inCopy(path), inCopy(to));
    }
    rmSync(inCopy(path), { force: true });
  };
  for (const [index, call] of trace.entries()) {
    const { name, path, texts } = call;
    const isMeant = index >= first && index < end && path.startsWith(folder);
    if (!isMeant || hearing.includes(name)) continue;
    const changes = files.get(path) ?? [];
    if (syncing.includes(name)) synchronise(changes, call);
    else if (naming.includes(name)) move(path, texts[1]?.toString());
    else files.set(path, [...changes, { index, call, isSynced: false }]);
  }
  return files;
}

function synchronise(changes: readonly Change[], { path, since }: Call): void {
  for (const change of changes.filter(({ index }) => index < since)) {
    if (Number.isNaN(change.call.at)) {
      throw new Error(`${change.call.name} to ${path} does not tell where it wrote.`);
    }
    change.isSynced = true;
  }
}

function apply(file: string, changes: readonly Change[]): void {
  if (!existsSync(file)) writeFileSync(file, "");
  const target = openSync(file, "r+");
  for (const { call } of changes) {
    if (call.name === "ftruncate") ftruncateSync(target, call.at);
    else writeSync(target, Buffer.concat(call.texts), 0, undefined, call.at);
  }
  closeSync(target);
}
