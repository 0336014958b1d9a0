/** Section 5: the same key with another request. */
import type { WireAnswer } from "../wire/answer-reader.ts";
import { brief, checkProblem, checkReplay, checkSafe, checkStatus } from "../checks.ts";
import { whileHeld } from "../patience.ts";
import type { Ask, Intent } from "../route.ts";
import { checkRetry } from "../retry.ts";
import type { Section } from "../rule.ts";

const reused = { status: 422, code: "key-reused", title: "Idempotency-Key is already used" };
const form = (boundary: string): Ask => ({
  mediaType: `multipart/form-data; boundary=${boundary}`,
  body:
    `--${boundary}\r\nContent-Disposition: form-data; name="amount"\r\n\r\n` +
    `1\r\n--${boundary}--\r\n`,
});

/** Checks that a changed request ran nothing and got nothing of the first one's answer. */
async function checkNothingOf(
  first: WireAnswer,
  [one, change]: readonly [Intent, Ask],
  what: string,
): Promise<WireAnswer> {
  const tell = { id: `${one.id}-other`, ...change.tell };
  const answer = await one.send({ ...change, tell });
  const isForeign = answer.body.length > 0 && answer.body.equals(first.body);
  checkSafe(!isForeign, `${what} got the answer of the first request.`);
  return answer;
}

/** Sends an intent, and then a change of it that must be refused. */
async function checkMismatch(one: Intent, change: Ask, what: string): Promise<void> {
  const first = await one.send();
  checkStatus(first, 200, "The first request");
  const other = await checkNothingOf(first, [one, change], what);
  checkSafe(other.status >= 400, `${what} was executed (${brief(other)}).`);
  await one.ran(1);
  checkProblem(other, reused, what);
}

export const mismatch: Section = {
  title: "Mismatch",
  rules: [
    {
      kind: "http",
      rule: "B-55",
      title: "the same key with another body gets 422 key-reused",
      test: async ({ intent }) => {
        const one = intent({ body: "for one body" });
        await checkMismatch(one, { body: '{"amount":2}' }, "Another body");
      },
    },
    {
      kind: "http",
      rule: "B-56",
      title: "another body gets 422 while the first is still running",
      needs: ["holds"],
      test: async ({ intent, whileRunning }) => {
        const { intent: one } = await whileRunning(
          () => intent({ body: "for one body" }),
          async (held) => {
            const other = await held.send({ body: '{"amount":2}' });
            await held.ran(1);
            checkProblem(other, reused, "Another body while the first runs");
          },
        );
        await one.ran(1);
      },
    },
    {
      kind: "http",
      rule: "B-57",
      title: "after a 422 the original request still gets its result",
      test: async ({ intent }) => {
        const one = intent({ status: 201, body: "for one body" });
        const first = await one.send();
        await one.send({ body: '{"amount":2}' });
        await checkRetry(one, first);
      },
    },
    {
      kind: "http",
      rule: "B-58",
      title: "the same key on another path of the route gets 422",
      test: async ({ intent, subject }) => {
        const one = intent({ body: "for path 1" }, { path: "/1" });
        const first = await one.send();
        if (first.status === 404) return;
        const other = { path: "/2", tell: { id: `${one.id}-2`, body: "for path 2" } };
        const answer = await checkNothingOf(first, [one, other], "Another path");
        // Whether two paths are one route, only the server knows: then they are two operations.
        await one.ran(1);
        if (subject.mountable) checkProblem(answer, reused, "Another path of the route");
      },
    },
    {
      kind: "http",
      rule: "B-59",
      title: "the same key on another operation is another key",
      test: async ({ intent, facts, subject }) => {
        const one = intent({ body: "of this route" });
        const first = await one.send();
        const below = { path: "/1", tell: { id: `${one.id}-1`, body: "of the route below" } };
        const answer = await checkNothingOf(first, [one, below], "Another route");
        if (subject.mountable) checkStatus(answer, 200, "Another route");
        if (facts.methods.has("PATCH")) {
          const patch = { method: "PATCH", tell: { id: `${one.id}-2`, body: "of PATCH" } };
          const patched = await checkNothingOf(first, [one, patch], "Another method");
          checkStatus(patched, 200, "Another method");
        }
        await one.ran(1);
      },
    },
    {
      kind: "http",
      rule: "B-60",
      title: "another query string is a mismatch",
      test: async ({ intent }) => {
        const one = intent({ body: "for a=1" }, { query: "a=1" });
        await checkMismatch(one, { query: "a=2" }, "Another query");
        await checkMismatch(intent({ body: "x" }), { query: "a=1" }, "An added query");
      },
      mounted: {
        needs: 'a route mounted with { fingerprint: { query: "unordered" } }',
        test: async ({ mount }) => {
          const route = await mount({ options: { fingerprint: { query: "unordered" } } });
          const one = route.intent({ body: "x" }, { query: "a=1&b=2" });
          const first = await one.send();
          await checkRetry(one, first, { change: { query: "b=2&a=1" } });
          await checkMismatch(one, { query: "b=2&a=2" }, "Another query");
        },
      },
    },
    {
      kind: "http",
      rule: "B-61",
      title: "another media type is a mismatch; unrelated headers never matter",
      test: async ({ intent }) => {
        const one = intent({ body: "x" }, { mediaType: "application/x-one" });
        await checkMismatch(one, { mediaType: "application/x-two" }, "Another media type");
        const first = await one.send();
        const headers = [
          ["User-Agent", "another/2"],
          ["Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
          ["Accept-Language", "de"],
        ] as const;
        await checkRetry(one, first, { change: { headers } });
      },
    },
    {
      kind: "http",
      rule: "B-62",
      title: "JSON is compared by value, or byte by byte where the route says so",
      test: async ({ intent, subject }) => {
        const one = intent({ body: "x" }, { body: '{"a":1,"b":[1,2]}' });
        const first = await one.send();
        const reordered = await one.send({ body: '{ "b": [1, 2],\n "a": 1.0 }' });
        await one.ran(1);
        if (subject.mountable || reordered.status !== 422) checkReplay(reordered, first);
        await checkMismatch(one, { body: '{"a":1,"b":[2,1]}' }, "An array in another order");
      },
      mounted: {
        needs: 'a route mounted with { fingerprint: { json: "bytes" } }',
        test: async ({ mount }) => {
          const route = await mount({ options: { fingerprint: { json: "bytes" } } });
          const one = route.intent({ body: "x" }, { body: "9007199254740992" });
          await checkMismatch(one, { body: "9007199254740993" }, "Another number beyond doubles");
        },
      },
    },
    {
      kind: "http",
      rule: "B-63",
      title: "fields may be ignored; by default the whole body counts",
      mounted: {
        needs: "a route mounted with { fingerprint: { ignoreFields } }",
        test: async ({ mount }) => {
          const options = { fingerprint: { ignoreFields: ["sent_at"] } };
          const one = (await mount({ options })).intent({ body: "x" }, { body: '{"a":1}' });
          const first = await one.send();
          await checkRetry(one, first, { change: { body: '{"sent_at":2,"a":1}' } });
          await checkMismatch(one, { body: '{"sent_at":2,"a":2}' }, "Another field that counts");
          const whole = (await mount({})).intent({ body: "x" }, { body: '{"a":1}' });
          await checkMismatch(whole, { body: '{"sent_at":2,"a":1}' }, "A further field");
        },
      },
    },
    {
      kind: "http",
      rule: "B-64",
      title: "multipart with another boundary is a mismatch",
      test: async ({ intent }) => {
        const one = intent({ body: "x" }, form("aaa"));
        const first = await one.send();
        await checkRetry(one, first);
        await checkMismatch(one, form("bbb"), "Another boundary");
      },
    },
    {
      kind: "http",
      rule: "B-65",
      title: "an empty body, none and {} are three requests",
      test: async ({ intent }) => {
        const bodies: readonly Ask[] = [{ body: "" }, { body: null }, { body: "{}" }];
        for (const [index, body] of bodies.entries()) {
          const other = bodies[(index + 1) % bodies.length] ?? {};
          await checkMismatch(intent({ body: "x" }, body), other, nameOf(other));
        }
      },
    },
    {
      kind: "http",
      rule: "B-66",
      title: "the status of a mismatch is the route's choice, its code is not",
      mounted: {
        needs: "a route mounted with { mismatchStatus }",
        test: async ({ mount }) => {
          for (const status of [400, 409] as const) {
            const one = (await mount({ options: { mismatchStatus: status } })).intent();
            await one.send();
            const other = await one.send({ body: "another" });
            await one.ran(1);
            checkProblem(other, { status, code: "key-reused" }, "Another body");
          }
        },
      },
    },
    {
      kind: "http",
      rule: "B-67",
      title: "a failed attempt keeps the key bound to its request",
      test: async ({ intent }) => {
        const one = intent({ status: 503 });
        checkStatus(await one.send(), 503, "The first request");
        const other = await one.send({ body: '{"amount":2}', tell: { status: 200 } });
        await one.ran(1);
        checkProblem(other, reused, "Another body after a failure");
      },
      mounted: {
        needs: "a handler that can be held",
        test: async ({ mount }) => {
          const one = (await mount({})).intent({ status: 503 });
          const first = await whileHeld(one, async () => {
            const other = await one.send({ body: '{"amount":2}' });
            checkProblem(other, reused, "Another body before a failure");
          });
          checkStatus(first, 503, "The first request");
          await one.ran(1);
        },
      },
    },
  ],
};

function nameOf({ body }: Ask): string {
  if (body === null) return "No body";
  return body === "" ? "An empty body" : "A body of {}";
}
