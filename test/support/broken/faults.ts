/**
 * What goes wrong in layers written by hand, one fault at a time, and the rule that each breaks.
 * Most of them were found in the wild.
 */
import { setTimeout as delay } from "node:timers/promises";
import { sound } from "./hand-written.ts";
import type { Parts } from "./hand-written.ts";

export interface Fault {
  /** A rule that it breaks. */
  readonly rule: string;
  /** Whether work is done twice by it, or an answer reaches the wrong one. */
  readonly unsafe?: true;
  readonly parts: Partial<Parts>;
}

const large = 1_048_576;

export const faults: Readonly<Record<string, Fault>> = {
  "sends, then records": {
    rule: "B-25",
    parts: {
      settle: (record, send) => {
        send();
        setTimeout(record, 20);
      },
    },
  },
  "keeps bodies as text": {
    rule: "B-34",
    parts: {
      keep: (answer) => sound.keep({ ...answer, body: Buffer.from(answer.body.toString()) }),
    },
  },
  "records its own 409": {
    rule: "B-45",
    parts: {
      claim: (records, name, fingerprint) => {
        const known = records.get(name);
        if (known?.state !== "running") return sound.claim(records, name, fingerprint);
        const kept = { status: 409, headers: [], body: Buffer.from("in progress") };
        records.set(name, { fingerprint, state: "done", kept });
        return kept;
      },
    },
  },
  "replays Set-Cookie": {
    rule: "B-29",
    unsafe: true,
    parts: {
      keep: (answer) => {
        const cookies = answer.headers.filter(([name]) => /^set-cookie$/i.test(name));
        const kept = sound.keep(answer);
        return kept && { ...kept, headers: [...kept.headers, ...cookies] };
      },
    },
  },
  "replays every header": { rule: "B-30", parts: { keep: (answer) => answer } },
  "does not bind the key to the path": {
    rule: "B-58",
    unsafe: true,
    parts: {
      fingerprintOf: ({ req, ...asked }) => {
        const search = req.url?.split("?")[1] ?? "";
        return sound.fingerprintOf({ ...asked, req: Object.assign(req, { url: `/r?${search}` }) });
      },
    },
  },
  "does not bind the key to the query": {
    rule: "B-60",
    unsafe: true,
    parts: {
      fingerprintOf: ({ req, ...asked }) => {
        const [path = ""] = req.url?.split("?") ?? [];
        return sound.fingerprintOf({ ...asked, req: Object.assign(req, { url: path }) });
      },
    },
  },
  "does not bind the key to the caller": {
    rule: "B-100",
    unsafe: true,
    parts: { nameOf: ({ req, key }) => JSON.stringify([req.method, req.url, key]) },
  },
  "does not bind the key to the body": {
    rule: "B-55",
    unsafe: true,
    parts: { fingerprintOf: ({ req }) => `${req.url} ${req.headers["content-type"]}` },
  },
  "frees the lock when it refuses a duplicate": {
    rule: "B-46",
    unsafe: true,
    parts: {
      claim: (records, name, fingerprint) => {
        const decision = sound.claim(records, name, fingerprint);
        if (records.get(name)?.state === "running" && decision !== "run") records.delete(name);
        return decision;
      },
    },
  },
  "runs again what was too large to keep": {
    rule: "B-107",
    unsafe: true,
    parts: {
      keep: (answer) => (answer.body.length > large ? undefined : sound.keep(answer)),
    },
  },
  "runs again what was streamed and too large": {
    rule: "B-108",
    unsafe: true,
    parts: {
      keep: (answer) => (answer.body.length > large ? undefined : sound.keep(answer)),
    },
  },
  "pins a 5xx": { rule: "B-69", parts: { isKept: () => true } },
  "pins a 401": { rule: "B-72", parts: { isKept: (status) => status < 500 } },
  "runs a refusal again": {
    rule: "B-71",
    unsafe: true,
    parts: { isKept: (status) => status < 400 },
  },
  "takes an empty body for no result": {
    rule: "B-23",
    unsafe: true,
    parts: {
      keep: (answer) => (answer.body.length === 0 ? undefined : sound.keep(answer)),
    },
  },
  "takes a falsy body for no result": {
    rule: "B-23",
    unsafe: true,
    parts: {
      keep: (answer) => {
        const isJson = answer.headers.some(([, value]) => value === "application/json");
        const isFalsy = isJson && !JSON.parse(answer.body.toString());
        return isFalsy ? undefined : sound.keep(answer);
      },
    },
  },
  "looks first and claims later": {
    rule: "B-46",
    unsafe: true,
    parts: {
      claim: async (records, name, fingerprint) => {
        const isFree = records.get(name) === undefined;
        await delay(5);
        if (!isFree) return sound.claim(records, name, fingerprint);
        records.set(name, { fingerprint, state: "running" });
        return "run";
      },
    },
  },
  "forgets the work of a client that left": {
    rule: "B-76",
    unsafe: true,
    parts: { onGone: (free) => free() },
  },
  "takes two keys in one header for a key": {
    rule: "B-11",
    parts: { keyOf: (lines) => sound.keyOf([`"${lines.join(" ").replaceAll(/[",]/g, "")}"`]) },
  },
  "takes keys of any length": {
    rule: "B-9",
    parts: { keyOf: (lines) => sound.keyOf(lines.map((line) => line.slice(0, 200))) },
  },
  "folds the case of keys": {
    rule: "B-13",
    unsafe: true,
    parts: { keyOf: (lines) => sound.keyOf(lines.map((line) => line.toLowerCase())) },
  },
  "takes quotes for a part of the key": {
    rule: "B-4",
    unsafe: true,
    parts: { keyOf: ([line = "", ...more]) => (more.length > 0 ? undefined : line) },
  },
  "stays locked when the handler throws": { rule: "B-68", parts: { onThrow: () => undefined } },
  "records half an answer as if whole": {
    rule: "B-111",
    unsafe: true,
    parts: { onCut: (_free, record) => record() },
  },
  "stays locked when an answer breaks off": { rule: "B-111", parts: { onCut: () => undefined } },
  "waits for the whole of a stream": { rule: "B-109", parts: { streams: false } },
  "forgets the request when the handler fails": {
    rule: "B-67",
    unsafe: true,
    parts: { release: (records, name) => void records.delete(name) },
  },
  "sees a conflict before a mismatch": {
    rule: "B-56",
    parts: {
      claim: (records, name, fingerprint) => {
        const known = records.get(name);
        const asked = known?.state === "running" ? known.fingerprint : fingerprint;
        return sound.claim(records, name, asked);
      },
    },
  },
  "replays to whom authentication refuses": {
    rule: "B-39",
    unsafe: true,
    parts: { authenticatesFirst: false },
  },
  "marks nothing": { rule: "B-27", parts: { marks: [] } },
  "repeats the key in its refusals": {
    rule: "B-15",
    parts: { problem: (refusal, key) => ({ ...sound.problem(refusal, key), detail: key }) },
  },
  "lets refusals be cached": { rule: "B-41", parts: { problemHeaders: [] } },
  "compares no media types": {
    rule: "B-61",
    unsafe: true,
    parts: {
      fingerprintOf: ({ req, ...asked }) => {
        const headers = { ...req.headers, "content-type": "application/json" };
        const same = Object.create(req, { headers: { value: headers } }) as typeof req;
        return sound.fingerprintOf({ ...asked, req: same });
      },
    },
  },
  "takes an empty body for none": {
    rule: "B-65",
    unsafe: true,
    parts: {
      fingerprintOf: ({ req, body, ...asked }) =>
        body.length > 0 ? sound.fingerprintOf({ ...asked, req, body }) : String(req.url),
    },
  },
};
