/** Section 10: large bodies, streams, and what can only pass through. */
import { setTimeout as delay } from "node:timers/promises";
import type { WireAnswer } from "../wire/answer-reader.ts";
import {
  brief,
  check,
  checkProblem,
  checkReplay,
  checkSafe,
  checkStatus,
  headerOf,
  isReplay,
} from "../checks.ts";
import { eventually } from "../patience.ts";
import type { Intent, Route } from "../route.ts";
import { checkRetry } from "../retry.ts";
import type { MountedRoute, Section } from "../rule.ts";

const mebibyte = 1_048_576;
const omitted = { status: 409, code: "result-omitted" };
const events = [["Content-Type", "text/event-stream"]] as const;

/** The retry of what was too large: the recorded answer, or a final refusal; never a run. */
async function checkOmittedOrKept(one: Intent, first: WireAnswer): Promise<WireAnswer> {
  const retry = await one.send();
  await one.ran(1);
  if (retry.status === first.status && retry.body.length > 0) checkReplay(retry, first);
  else check(retry.status === 409 || isReplay(retry), `The retry got ${brief(retry)}.`);
  return retry;
}

function checkFinal(retry: WireAnswer, originalStatus: number): void {
  checkProblem(retry, omitted, "The retry of what was not kept");
  check(headerOf(retry, "retry-after") === undefined, "It is told to retry.");
  const told = JSON.parse(retry.body.toString()) as { readonly originalStatus?: unknown };
  check(told.originalStatus === originalStatus, "It does not tell the original status.");
}

export const size: Section = {
  title: "Size and streaming",
  rules: [
    {
      kind: "http",
      rule: "B-106",
      title: "a request that is too large to compare gets 413, and does not run",
      test: async ({ intent }) => {
        const one = intent({}, { body: Buffer.alloc(mebibyte + 1, "x"), mediaType: "text/plain" });
        const answer = await one.send();
        if (answer.status === 413 || answer.status === 0) await one.ran(0);
        else await checkRetry(one, answer, { who: "The retry of a large request" });
      },
      mounted: {
        needs: "a route mounted with { maxRequestBytes }",
        test: async ({ mount }) => {
          const { intent } = await mount({ options: { maxRequestBytes: 1000 } });
          const large = "x".repeat(1001);
          const chunked = `3e9\r\n${large}\r\n0\r\n\r\n`;
          for (const [body, headers] of [
            [large, []],
            [chunked, [["Transfer-Encoding", "chunked"]]],
          ] as const) {
            const one = intent({}, { body, headers, mediaType: "text/plain" });
            const refused = await one.send();
            await one.ran(0);
            checkProblem(refused, { status: 413, code: "request-too-large" }, "A large request");
          }
          checkStatus(await intent({}, { body: "x".repeat(1000) }).send(), 200, "A smaller one");
        },
      },
    },
    {
      kind: "http",
      rule: "B-107",
      title: "an answer that is too large to keep reaches its client whole, and never runs again",
      needs: ["repeats"],
      test: async ({ intent, route }) => {
        const one = intent({ body: "0123456789abcdef", repeat: (2 * mebibyte) / 16 });
        const first = await slowly(route, one);
        checkStatus(first, 200, "The first request");
        check(first.body.length === 2 * mebibyte, `Its client got ${first.body.length} bytes.`);
        await checkOmittedOrKept(one, first);
      },
      mounted: {
        needs: "a route mounted with { maxRecordedBytes }",
        test: async ({ mount }) => {
          const { intent } = await mount({ options: { maxRecordedBytes: 1000 } });
          const largest = intent({ body: "x", repeat: 1000 });
          const whole = await largest.send();
          await checkRetry(largest, whole);
          const one = intent({ status: 201, body: "x", repeat: 1001 });
          const first = await one.send();
          check(first.body.length === 1001, "Its client did not get all of it.");
          checkFinal(await one.send(), 201);
          await one.ran(1);
        },
      },
    },
    {
      kind: "http",
      rule: "B-108",
      title: "streamed bytes are counted, whatever was announced",
      needs: ["repeats", "streams"],
      test: async ({ intent }) => {
        const one = intent({ body: "0123456789abcdef", repeat: (2 * mebibyte) / 16, tail: "end" });
        const first = await one.send();
        check(first.body.length === 2 * mebibyte + 3, `Its client got ${first.body.length} bytes.`);
        await checkOmittedOrKept(one, first);
      },
      mounted: {
        needs: "a route mounted with { maxRecordedBytes }",
        test: async ({ mount }) => {
          const { intent } = await mount({ options: { maxRecordedBytes: 1000 } });
          const one = intent({ body: "x", repeat: 999, tail: "yz" });
          const first = await one.send();
          check(first.body.length === 1001, "Its client did not get all of it.");
          checkFinal(await one.send(), 200);
          await one.ran(1);
        },
      },
    },
    {
      kind: "http",
      rule: "B-109",
      title: "the first byte of a streamed answer does not wait for the last",
      needs: ["streams"],
      test: async ({ intent, whileRunning }) => {
        const { intent: one, answer } = await whileRunning(
          () => intent({ body: "the first part, ", tail: "the second" }),
          async (_held, running) => {
            await Promise.race([running.arriving.atLeast(1), delay(2000)]);
            const early = await Promise.race([
              running.arriving.atLeast(1),
              delay(0, Buffer.alloc(0)),
            ]);
            check(early.length > 0 && !running.isOver(), "The first byte came with the last.");
          },
        );
        check(answer.body.toString() === "the first part, the second", "The answer is not whole.");
        await checkRetry(one, answer);
      },
    },
    {
      kind: "http",
      rule: "B-110",
      title: "event streams pass at once; a retry is refused, and never runs",
      needs: ["streams"],
      test: async ({ intent, whileRunning, facts }) => {
        const { intent: one } = await whileRunning(
          () => intent({ headers: events, body: "data: 1\n\n", tail: "data: 2\n\n" }),
          async (held, running) => {
            const early = await Promise.race([running.arriving.atLeast(9), delay(2000)]);
            check(early?.toString() === "data: 1\n\n", "The first event did not come at once.");
            check(!running.isOver(), "The first event came with the last.");
            if (facts.waits) return;
            const retry = await held.send();
            await held.ran(1);
            checkStatus(retry, 409, "A retry while events flow");
          },
        );
        const retry = await one.send();
        await one.ran(1);
        check(retry.status === 409 || isReplay(retry), `A retry afterwards got ${brief(retry)}.`);
      },
      mounted: {
        needs: "a client that leaves an event stream",
        test: async ({ mount }) => {
          const route = await mount({});
          await checkLeftStream(route);
        },
      },
    },
    {
      kind: "http",
      rule: "B-111",
      title: "an answer that breaks off is not recorded as if it were whole",
      needs: ["cuts"],
      test: async ({ intent }) => {
        const one = intent({ body: "half of ", holdMs: 20, fail: "cut" });
        const first = await one.send();
        check(first.cut !== undefined, "The client was not told that the answer broke off.");
        const tell = { fail: undefined, body: "the whole" };
        const retry = await eventually(async () => {
          const answer = await one.send({ tell });
          return answer.status === 409 ? undefined : answer;
        }, "The key stayed locked after its answer had broken off.");
        checkStatus(retry, 200, "The retry");
        checkSafe(
          retry.body.toString() === "the whole",
          "Half an answer was replayed as if whole.",
        );
        await one.ran(2);
      },
    },
    {
      kind: "http",
      rule: "B-112",
      title: "trailers and interim answers pass, and are not recorded",
      needs: ["hints", "trailers"],
      test: async ({ intent }) => {
        const hints = "</style.css>; rel=preload";
        const one = intent({ hints, body: "a", tail: "b", trailers: [["X-Sum", "7"]] });
        const first = await one.send();
        check(first.interim[0]?.status === 103, "The 103 did not reach the client.");
        check(first.trailers.length === 1, "The trailers did not reach the client.");
        const retry = await checkRetry(one, first);
        check(retry.interim.length === 0, "The 103 was replayed.");
        check(retry.trailers.length === 0, "The trailers were replayed.");
      },
    },
  ],
};

/** Reads an answer only after a while, so that the server's writes back up. */
async function slowly(route: Route, one: Intent): Promise<WireAnswer> {
  const connection = await route.connect();
  connection.pause();
  const arriving = connection.send(one.request());
  await delay(50);
  connection.resume();
  const answer = await arriving.whole;
  connection.close();
  return answer;
}

/** Leaves an event stream that has no end of its own. */
async function checkLeftStream(route: MountedRoute): Promise<void> {
  const one = route.intent({ headers: events, body: "data: 1\n\n", tail: "data: 2\n\n" });
  const running = await one.start(10_000);
  await running.arriving.atLeast(9);
  running.connection.close();
  const left = await eventually(async () => {
    const answer = await one.send();
    return headerOf(answer, "retry-after") === undefined ? answer : undefined;
  }, "An event stream that its client has left still locks its key.");
  checkFinal(left, 200);
  await running.finish();
  await one.ran(1);
}
