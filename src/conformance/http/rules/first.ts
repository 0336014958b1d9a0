/** Section 2: the first execution under a key. */
import { setTimeout as delay } from "node:timers/promises";
import type { WireAnswer } from "../wire/answer-reader.ts";
import { check, checkReplay, checkSafe, checkStatus, headerOf, isReplay } from "../checks.ts";
import { headBytes } from "../wire/connection.ts";
import type { Pairs } from "../instruction.ts";
import type { Ask, Intent, Route } from "../route.ts";
import { checkRetry } from "../retry.ts";
import type { Section } from "../rule.ts";
import { watchedStore } from "../watched-store.ts";

// What belongs to each exchange, with or without a layer.
const ownToExchange = /^(?:date|connection|keep-alive|x-request-id|traceparent|server-timing)$/i;

function comparable({ headers }: WireAnswer): string {
  return headers
    .filter(([name]) => !ownToExchange.test(name))
    .map(([name, value]) => `${name.toLowerCase()}: ${value}`)
    .sort()
    .join("\n");
}

export const first: Section = {
  title: "First execution",
  rules: [
    {
      kind: "http",
      rule: "B-19",
      title: "the first answer is what the handler gives without the layer",
      test: async ({ intent, facts, skip }) => {
        if (facts.required)
          skip("The route refuses requests without a key: nothing to compare with.");
        const headers: Pairs = [
          ["Content-Type", "application/x-receipt"],
          ["X-Own", "kept"],
        ];
        for (const tell of [
          { status: 201, headers, body: "a receipt" },
          { status: 200, body: "plain" },
          { status: 404, headers, body: "" },
        ]) {
          const one = intent(tell);
          const bare = await one.send({ keys: [] });
          const keyed = await one.send();
          checkStatus(keyed, tell.status, "The first request");
          check(keyed.body.equals(bare.body), "The first answer's body is not the handler's.");
          check(
            comparable(keyed) === comparable(bare),
            `The first answer's headers are not the handler's: ${differing(keyed, bare)}.`,
          );
          check(!isReplay(keyed), "The first answer is marked as a replay.");
        }
      },
    },
    {
      kind: "http",
      rule: "B-20",
      title: "two keys are two intents, though the body is the same",
      test: async ({ intent }) => {
        const one = intent();
        const other = intent({}, {});
        checkStatus(await one.send(), 200, "The first key's request");
        checkStatus(await other.send(), 200, "The second key's request");
        await one.ran(1);
        await other.ran(1);
      },
    },
    {
      kind: "http",
      rule: "B-21",
      title: "the handler can read key, scope, attempt and fence",
      mounted: {
        needs: "a handler that tells what it can read",
        test: async ({ intent, subject }) => {
          const one = intent({ tell: true });
          const told = JSON.parse((await one.send()).body.toString()) as Record<string, unknown>;
          const [[, scope] = ["", ""]] = subject.callers.first;
          check(told["key"] === one.key, "The handler does not know its key.");
          check(told["scope"] === scope, "The handler does not know its scope.");
          check(told["attempt"] === 1, "The handler does not know its attempt.");
          check(Number.isInteger(told["fence"]), "The handler does not know its fence.");
        },
      },
    },
    {
      kind: "http",
      rule: "B-22",
      title: "the handler can still read the request's body, however it comes",
      needs: ["echoes"],
      test: async ({ intent, route }) => {
        const large = Buffer.alloc(300_000, "0123456789");
        await checkEcho(intent({ echo: true }, { body: large, mediaType: "text/plain" }), large);
        const one = intent({ echo: true }, { mediaType: "application/octet-stream" });
        const chunked: Ask = {
          headers: [["Transfer-Encoding", "chunked"]],
          body: "4\r\nfour\r\n3\r\nsix\r\n0\r\n\r\n",
        };
        const answer = await one.send(chunked);
        check(answer.body.toString() === "foursix", "The handler could not read a chunked body.");
        await checkRetry(one, answer, { change: chunked });
        const form = '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n';
        const mediaType = "multipart/form-data; boundary=x";
        await checkEcho(intent({ echo: true }, { body: form, mediaType }), Buffer.from(form));
        await checkContinue(route, intent({ echo: true }));
      },
    },
    {
      kind: "http",
      rule: "B-23",
      title: "answers without a body, and falsy ones, are recorded like any other",
      needs: ["bodiless"],
      test: async ({ intent }) => {
        const json: Pairs = [["Content-Type", "application/json"]];
        for (const tell of [
          { status: 204 },
          { status: 304 },
          { status: 200, body: "" },
          { status: 201, headers: json, body: "0" },
          { status: 200, headers: json, body: "null" },
          { status: 200, headers: json, body: "false" },
          { status: 200, headers: json, body: '""' },
        ]) {
          const one = intent(tell);
          const answer = await one.send();
          checkStatus(answer, tell.status, "The first request");
          await checkRetry(one, answer, { who: `The retry of a ${tell.status}` });
        }
      },
    },
    {
      kind: "http",
      rule: "B-24",
      title: "a first request costs two round trips to the store",
      mounted: {
        needs: "a store whose calls can be counted",
        test: async ({ mount }) => {
          const { calls, watch } = watchedStore();
          const route = await mount({ store: watch });
          checkStatus(await route.intent().send(), 200, "The first request");
          const names = calls.map(({ name }) => name).join(", ");
          check(names === "claim, complete", `It cost: ${names}; expected claim, complete.`);
        },
      },
    },
    {
      kind: "http",
      rule: "B-25",
      title: "an answer leaves only after it is recorded: a retry at once is a replay",
      test: async ({ intent, route, facts }) => {
        for (let round = 0; round < 20; round += 1) {
          await checkRetryAtOnce(route, intent({ status: 201, body: `receipt ${round}` }));
        }
        if (facts.lacks.streams !== undefined) return;
        for (let round = 0; round < 10; round += 1) {
          await checkRetryAtOnce(route, intent({ body: "in two ", tail: "parts" }));
        }
      },
      mounted: {
        needs: "a store that is slow to record",
        test: async ({ mount }) => {
          const { watch, fail } = watchedStore();
          const route = await mount({ store: watch });
          let isRecorded = false;
          fail("complete", async (call) => {
            await delay(60);
            const reply = await call();
            isRecorded = true;
            return reply;
          });
          for (const tell of [{ body: "whole" }, { body: "in two ", tail: "parts" }]) {
            isRecorded = false;
            await route.intent(tell).send();
            checkSafe(isRecorded, "The last byte left before the record was written.");
          }
        },
      },
    },
  ],
};

function differing(one: WireAnswer, other: WireAnswer): string {
  const [lines, others] = [one, other].map((answer) => comparable(answer).split("\n"));
  const added = (lines ?? []).filter((line) => others?.includes(line) !== true);
  const lost = (others ?? []).filter((line) => lines?.includes(line) !== true);
  return [...added.map((line) => `+ ${line}`), ...lost.map((line) => `- ${line}`)].join("; ");
}

async function checkEcho(one: Intent, body: Buffer): Promise<void> {
  const answer = await one.send();
  check(answer.body.equals(body), "The handler could not read the whole body of its request.");
  await checkRetry(one, answer);
}

/** A client that asks first whether its body is wanted (RFC 9110, 10.1.1). */
async function checkContinue(route: Route, one: Intent): Promise<void> {
  const request = one.request({ headers: [["Expect", "100-continue"]] });
  const connection = await route.connect();
  try {
    connection.write(headBytes(route.url, request));
    const arriving = connection.answer("POST");
    await Promise.race([arriving.begun, delay(1000)]);
    connection.write(request.body ?? "");
    const answer = await arriving.whole;
    const sent = Buffer.from(request.body ?? "");
    check(answer.body.equals(sent), "The body of a request with Expect: 100-continue was lost.");
  } finally {
    connection.close();
  }
}

/** On one connection, the retry right behind the last byte of the first answer. */
async function checkRetryAtOnce(route: Route, one: Intent): Promise<void> {
  const connection = await route.connect();
  try {
    const first = await connection.send(one.request()).whole;
    const isKept = headerOf(first, "connection")?.toLowerCase() !== "close";
    const retry = isKept ? await connection.send(one.request()).whole : await one.send();
    await one.ran(1);
    checkReplay(retry, first, "A retry sent right after the answer");
  } finally {
    connection.close();
  }
}
