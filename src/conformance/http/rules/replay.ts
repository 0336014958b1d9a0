/** Section 3: the replay of what was recorded. */
import { gunzipSync, gzipSync } from "node:zlib";
import type { WireAnswer } from "../wire/answer-reader.ts";
import {
  brief,
  check,
  checkBytes,
  checkReplay,
  checkSafe,
  checkStatus,
  headerOf,
  isReplay,
} from "../checks.ts";
import type { Pairs } from "../instruction.ts";
import { everyByte } from "../probe.ts";
import type { Ask, Intent, Tell } from "../route.ts";
import { checkRetry } from "../retry.ts";
import type { Section, Trial } from "../rule.ts";
import { watchedStore } from "../watched-store.ts";

/** Sends an intent and its retry; checks that the retry is a replay and ran nothing. */
async function replayOf(
  intent: Intent,
  change: Ask = {},
): Promise<{ readonly first: WireAnswer; readonly replay: WireAnswer }> {
  const first = await intent.send();
  return { first, replay: await checkRetry(intent, first, { change }) };
}

const kept: Pairs = [
  ["Location", "/receipts/7"],
  ["ETag", '"v7"'],
  ["Link", '</receipts>; rel="collection"'],
  ["Content-Type", "application/x-receipt"],
  ["Content-Language", "de-CH"],
  ["Content-Disposition", 'attachment; filename="receipt"'],
];
const secret: Pairs = [
  ["Set-Cookie", "session=of-the-first-exchange; HttpOnly"],
  ["WWW-Authenticate", 'Bearer realm="of-the-first-exchange"'],
  ["Authorization", "Bearer of-the-first-exchange"],
  ["Authentication-Info", "nextnonce=of-the-first-exchange"],
];
const passing: Pairs = [
  ["Keep-Alive", "timeout=77"],
  ["Date", "Thu, 01 Jan 1970 00:00:00 GMT"],
  ["Server-Timing", "db;dur=7777"],
  ["Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
  ["X-Request-Id", "of-the-first-exchange"],
  ["RateLimit-Limit", "7777"],
  ["X-RateLimit-Remaining", "7777"],
  ["Retry-After", "7777"],
  ["Age", "7777"],
  ["Via", "1.1 of-the-first-exchange"],
];

function checkAbsent(replay: WireAnswer, headers: Pairs, harm: boolean): void {
  for (const [name, value] of headers) {
    const replayed = headerOf(replay, name.toLowerCase());
    const sentence = `The replay carries the first answer's ${name}.`;
    if (harm) checkSafe(replayed?.includes(value) !== true, sentence);
    else check(replayed !== value, sentence);
  }
}

export const replay: Section = {
  title: "Replay",
  rules: [
    {
      kind: "http",
      rule: "B-26",
      title: "a retry gets the same status and bytes, and runs nothing",
      test: async ({ intent, route }) => {
        const tell = { status: 201, body: "a receipt" };
        for (let retries = 0; retries < 2; retries += 1) await replayOf(intent(tell));
        // A client that pipelines sends its retry before it has read the first answer.
        const one = intent(tell);
        const connection = await route.connect();
        const answers = [connection.send(one.request()), connection.send(one.request())];
        const [first, second] = await Promise.all(answers.map((answer) => answer.whole));
        connection.close();
        await one.ran(1);
        const said = [first, second].map((answer) => (answer === undefined ? "" : brief(answer)));
        check(first?.status === 201, `A pipelined pair got ${said.join(" and ")}.`);
      },
    },
    {
      kind: "http",
      rule: "B-27",
      title: "a replay is marked, the first answer is not",
      test: async ({ intent }) => {
        const { first } = await replayOf(intent({ body: "marked" }));
        check(!isReplay(first), "The first answer is marked as a replay.");
      },
      mounted: {
        needs: "a route mounted with { replayMarkers }",
        test: async ({ mount }) => {
          const replayMarkers = ["Idempotent-Replayed", "X-Replay"];
          const route = await mount({ options: { replayMarkers } });
          const { replay } = await replayOf(route.intent());
          check(headerOf(replay, "x-replay") === "true", "The second marker is missing.");
          check(
            headerOf(replay, "idempotency-replayed") === undefined,
            "The default marker is sent though others were chosen.",
          );
        },
      },
    },
    {
      kind: "http",
      rule: "B-28",
      title: "headers that describe the answer are replayed",
      test: async ({ intent }) => {
        const { first, replay } = await replayOf(intent({ headers: kept, body: "x" }));
        for (const [name] of kept) {
          const lower = name.toLowerCase();
          const [was, is] = [headerOf(first, lower), headerOf(replay, lower)];
          check(was === is, `The replay has ${name} ${is ?? "no more"}; the first had ${was}.`);
        }
      },
    },
    {
      kind: "http",
      rule: "B-29",
      title: "cookies and credentials are never replayed",
      test: async ({ intent }) => {
        const { replay } = await replayOf(intent({ headers: secret, body: "x" }));
        checkAbsent(replay, secret, true);
      },
      mounted: {
        needs: "a route mounted with { replayHeaders }",
        test: async ({ mount }) => {
          const mounted = await mount({ options: { replayHeaders: ["Set-Cookie"] } }).catch(
            (error: unknown) => error,
          );
          checkSafe(mounted instanceof TypeError, "A route may ask for cookies to be replayed.");
        },
      },
    },
    {
      kind: "http",
      rule: "B-30",
      title: "headers of one exchange are not replayed into another",
      test: async ({ intent }) => {
        const { replay } = await replayOf(intent({ headers: passing, body: "x" }));
        checkAbsent(replay, passing, false);
      },
    },
    {
      kind: "http",
      rule: "B-31",
      title: "CORS headers of a replay are those of its own origin",
      needs: ["cors"],
      test: async ({ intent }) => {
        const from = (origin: string): Ask => ({ headers: [["Origin", origin]] });
        const one = intent();
        const first = await one.send(from("https://a.example"));
        const replay = await checkRetry(one, first, { change: from("https://b.example") });
        const allowed = headerOf(replay, "access-control-allow-origin");
        check(
          allowed === "https://b.example" || allowed === "*",
          `The replay for https://b.example allows ${allowed ?? "nobody"}.`,
        );
      },
    },
    {
      kind: "http",
      rule: "B-32",
      title: "a compressed record can be read by a client that accepts no compression",
      needs: ["bytes"],
      test: async ({ intent }) => {
        const headers: Pairs = [
          ["Content-Type", "text/plain"],
          ["Content-Encoding", "gzip"],
        ];
        const one = intent({ headers, body: gzipSync("plain words") });
        const accepting: Ask = { headers: [["Accept-Encoding", "gzip"]] };
        checkStatus(await one.send(accepting), 200, "The first request");
        const same = await one.send(accepting);
        check(plain(same) === "plain words", "A retry that accepts gzip cannot read its replay.");
        const bare = await one.send();
        await one.ran(1);
        checkStatus(bare, 200, "A retry that accepts no compression");
        check(
          headerOf(bare, "content-encoding") === undefined && plain(bare) === "plain words",
          "A retry that accepts no compression got a compressed replay.",
        );
      },
    },
    {
      kind: "http",
      rule: "B-33",
      title: "several lines of one header keep their values and their order",
      needs: ["lines"],
      test: async ({ intent }) => {
        const links: Pairs = [
          ["Link", "</2>; rel=next"],
          ["Link", "</0>; rel=prev"],
          ["Link", "</9>; rel=last"],
        ];
        const { first, replay } = await replayOf(intent({ headers: links }));
        const [was, is] = [headerOf(first, "link"), headerOf(replay, "link")];
        check(was === is, `The replay's Link is ${is ?? "missing"}; the first had ${was}.`);
      },
    },
    {
      kind: "http",
      rule: "B-34",
      title: "every byte value is replayed as it was",
      needs: ["bytes"],
      test: async ({ intent }) => {
        const headers: Pairs = [["Content-Type", "application/octet-stream"]];
        const one = intent({ headers, body: everyByte });
        const first = await one.send();
        check(first.body.equals(everyByte), "The first answer's bytes are not the handler's.");
        await checkRetry(one, first);
        const text = intent({ headers: [["Content-Type", "text/plain"]], body: everyByte });
        checkBytes(await text.send(), first, "A text of the same bytes");
        checkBytes(await text.send(), first, "Its retry");
      },
    },
    {
      kind: "http",
      rule: "B-35",
      title: "a redirect is replayed with its Location",
      test: async ({ intent }) => {
        const headers: Pairs = [["Location", "/receipts/7"]];
        const { replay } = await replayOf(intent({ status: 303, headers }));
        check(headerOf(replay, "location") === "/receipts/7", "The replay has lost its Location.");
      },
    },
    {
      kind: "http",
      rule: "B-36",
      title: "a replay tells when the original completed",
      test: async ({ intent }) => {
        const { replay } = await replayOf(intent());
        const date = headerOf(replay, "idempotency-original-date");
        check(date !== undefined, "The replay has no Idempotency-Original-Date.");
        check(!Number.isNaN(Date.parse(date)), "Idempotency-Original-Date is no date.");
      },
    },
    {
      kind: "http",
      rule: "B-37",
      title: "a hundred replays at once are all answered",
      test: async ({ intent }) => {
        const one = intent({ body: "for all" });
        const first = await one.send();
        const replays = await Promise.all(Array.from({ length: 100 }, () => one.send()));
        await one.ran(1);
        for (const replay of replays) checkReplay(replay, first, "One of a hundred retries");
      },
    },
    {
      kind: "http",
      rule: "B-38",
      title: "a replay costs one round trip to the store",
      mounted: {
        needs: "a store whose calls can be counted",
        test: async ({ mount }) => {
          const { calls, watch } = watchedStore();
          const one = (await mount({ store: watch })).intent();
          await one.send();
          const before = calls.length;
          await one.send();
          await one.send({ body: "another" });
          const names = calls.slice(before).map(({ name }) => name);
          check(
            names.join() === "claim,claim",
            `A replay and a mismatch cost ${names.join(", ")}; expected one claim each.`,
          );
        },
      },
    },
    {
      kind: "http",
      rule: "B-39",
      title: "a refused credential gets no replay",
      test: async ({ subject, intent, skip }) => {
        if (subject.callers.revoked === undefined) {
          skip("It needs a credential that the server refuses (--revoked).");
        }
        const one = intent({ body: "for the caller alone" });
        checkStatus(await one.send(), 200, "The first request");
        const answer = await one.send({ as: "revoked" });
        checkSafe(
          !answer.body.includes("for the caller alone"),
          "A refused credential got the recorded answer.",
        );
        check(
          answer.status === 401 || answer.status === 403,
          `A refused credential got ${brief(answer)}; expected 401 or 403.`,
        );
      },
    },
    {
      kind: "http",
      rule: "B-40",
      title: "the key is echoed where the route says so",
      mounted: {
        needs: "a route mounted with { echoKey: true }",
        test: async ({ mount }) => {
          const route = await mount({ options: { echoKey: true } });
          const { first, replay } = await replayOf(route.intent());
          for (const answer of [first, replay]) {
            const echoed = headerOf(answer, "idempotency-key");
            check(/^"[0-9a-f-]{36}"$/.test(echoed ?? ""), "The key is not echoed as it came.");
          }
        },
      },
    },
    {
      kind: "http",
      rule: "B-41",
      title: "refusals say Cache-Control: no-store",
      test: async (trial) => {
        for (const answer of await refusals(trial)) {
          const value = headerOf(answer, "cache-control") ?? "no Cache-Control";
          check(/\bno-store\b/.test(value), `A refusal (${brief(answer)}) has ${value}.`);
        }
      },
    },
    {
      kind: "http",
      rule: "B-42",
      title: "conditional headers of a retry do not change the replay",
      test: async ({ intent }) => {
        const headers: Pairs = [
          ["ETag", '"v7"'],
          ["Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"],
        ];
        const conditions: Pairs = [
          ["If-None-Match", '"v7"'],
          ["If-Modified-Since", "Fri, 02 Jan 1970 00:00:00 GMT"],
        ];
        await replayOf(intent({ headers, body: "whole" }), { headers: conditions });
        const range: Pairs = [["Range", "bytes=0-1"]];
        await replayOf(intent({ headers, body: "whole" }), { headers: range });
      },
    },
  ],
};

function plain(answer: WireAnswer): string {
  const isGzip = headerOf(answer, "content-encoding") === "gzip";
  return (isGzip ? gunzipSync(answer.body) : answer.body).toString();
}

/** One refusal of each kind that any route shows. */
export async function refusals({
  intent,
  facts,
  whileRunning,
}: Trial): Promise<readonly WireAnswer[]> {
  const tell: Tell = {};
  const one = intent(tell);
  await one.send();
  const refused = [await one.send({ body: "another" }), await one.send({ keys: ['"a", "b"'] })];
  await one.ran(1);
  for (const answer of refused) {
    check(answer.status >= 400 && answer.status < 500, `A refusal came as ${brief(answer)}.`);
  }
  if (facts.lacks.holds !== undefined || facts.waits) return refused;
  await whileRunning(
    () => intent(),
    async (held) => {
      refused.push(await held.send());
      await held.ran(1);
    },
  );
  return refused;
}
