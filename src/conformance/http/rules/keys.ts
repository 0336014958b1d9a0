/** Section 1: the syntax of keys, and requests without one. */
import { check, checkProblem, checkSafe, checkStatus, isReplay } from "../checks.ts";
import type { WireAnswer } from "../wire/answer-reader.ts";
import type { Ask, Intent, Route } from "../route.ts";
import { checkRetry } from "../retry.ts";
import type { Section, Trial } from "../rule.ts";
import { watchedStore } from "../watched-store.ts";

/** Checks that keys are refused with 400, and nothing is executed. */
async function checkRefused(route: Route, keys: readonly string[], what: string): Promise<void> {
  const intent = route.intent();
  const answer = await intent.send({ keys });
  check(
    answer.status >= 400 && answer.status < 500,
    `A key ${what} got ${answer.status || "no answer"}; expected 400.`,
  );
  await intent.ran(0);
}

/** Checks that these spellings of the intent's key are one key. */
async function checkSameKey(intent: Intent, spellings: readonly Ask[]): Promise<void> {
  const [first, ...others] = spellings;
  const answer = await intent.send(first);
  checkStatus(answer, 200, "The first request");
  for (const other of others) await checkRetry(intent, answer, { change: other });
}

/** Checks that each of these keys is one of its own. */
async function checkApart(trial: Trial, keys: readonly string[]): Promise<void> {
  const quote = (key: string): string => (trial.facts.strict ? `"${key}"` : key);
  const answers: WireAnswer[] = [];
  for (const key of keys) {
    const intent = trial.intent({ body: key }, { keys: [quote(key)] });
    const answer = await intent.send();
    checkStatus(answer, 200, "A request with a fresh key");
    checkSafe(
      answer.body.toString() === key && !isReplay(answer),
      "A fresh key got the answer of another key that looks alike.",
    );
    await intent.ran(1);
    answers.push(answer);
  }
}

const unique = (trial: Trial): string => trial.intent().key;

export const keys: Section = {
  title: "Key syntax and presence",
  rules: [
    {
      kind: "http",
      rule: "B-1",
      title: "without a key every request runs, and nothing is replayed",
      test: async ({ intent, facts, skip }) => {
        if (facts.required) skip("The route refuses requests without a key (see B-2).");
        const bare = intent({}, { keys: [] });
        for (const who of ["The first request", "The second request"]) {
          const answer = await bare.send();
          checkStatus(answer, 200, who);
          check(!isReplay(answer), `${who} without a key is marked as a replay.`);
        }
        await bare.ran(2);
      },
    },
    {
      kind: "http",
      rule: "B-2",
      title: "a route that requires a key refuses requests without one",
      test: async ({ subject, facts, route, skip }) => {
        if (subject.mountable) return;
        if (!facts.required) skip("The route requires no key.");
        await checkMissing(route);
      },
      mounted: {
        needs: "a route mounted with { required: true }",
        test: async ({ mount }) => checkMissing(await mount({ options: { required: true } })),
      },
    },
    {
      kind: "http",
      rule: "B-3",
      title: "a quoted key (an sf-string) is accepted",
      test: async ({ intent }) => {
        const one = intent();
        const quoted = { keys: [`"${one.key}"`] };
        await checkSameKey(one, [quoted, quoted]);
      },
    },
    {
      kind: "http",
      rule: "B-4",
      title: "a bare and a quoted spelling are the same key",
      test: async ({ intent, facts, skip }) => {
        if (facts.strict) skip("The route takes quoted keys only (see B-5).");
        for (const order of [0, 1]) {
          const one = intent();
          const spellings = [{ keys: [one.key] }, { keys: [`"${one.key}"`] }];
          await checkSameKey(one, order === 0 ? spellings : spellings.toReversed());
        }
      },
    },
    {
      kind: "http",
      rule: "B-5",
      title: "in strict mode a bare key is refused",
      test: async ({ subject, facts, route, skip }) => {
        if (subject.mountable) return;
        if (!facts.strict) skip("The route is lenient: it takes bare keys.");
        await checkRefused(route, ["bare-key"], "without quotes");
      },
      mounted: {
        needs: 'a route mounted with { keySyntax: "strict" }',
        test: async ({ mount }) => {
          const route = await mount({ options: { keySyntax: "strict" } });
          await checkRefused(route, ["bare-key"], "without quotes");
          const one = route.intent();
          const quoted = { keys: [`"${one.key}"`] };
          await checkSameKey(one, [quoted, quoted]);
        },
      },
    },
    {
      kind: "http",
      rule: "B-6",
      title: "escapes in a quoted key are read; unknown ones are refused",
      test: async ({ intent, route }) => {
        const one = intent();
        const escaped = { keys: [String.raw`"${one.key}\"b\\c"`] };
        await checkSameKey(one, [escaped, escaped]);
        await checkRefused(route, [String.raw`"a\x"`], "with an unknown escape");
        await checkRefused(route, [String.raw`"a`], "without its closing quote");
      },
      mounted: {
        needs: "a handler that tells its key",
        test: async ({ intent }) => {
          const one = intent({ tell: true });
          const { body } = await one.send({ keys: [String.raw`"${one.key}\"b\\c"`] });
          const { key } = JSON.parse(body.toString()) as { readonly key?: string };
          check(key === `${one.key}"b\\c`, "The handler's key still has its escapes.");
        },
      },
    },
    {
      kind: "http",
      rule: "B-7",
      title: "parameters of a quoted key are ignored",
      test: async ({ intent }) => {
        const one = intent();
        const quoted = `"${one.key}"`;
        const spellings = [quoted, `${quoted};v=1`, `${quoted}; a; b="c"`];
        await checkSameKey(
          one,
          spellings.map((spelling) => ({ keys: [spelling] })),
        );
      },
    },
    {
      kind: "http",
      rule: "B-8",
      title: "an empty or blank key is refused",
      test: async ({ route }) => {
        for (const key of ["", "   ", '""', '"   "'])
          await checkRefused(route, [key], "without text");
      },
    },
    {
      kind: "http",
      rule: "B-9",
      title: "keys have up to 255 bytes; longer ones are refused",
      test: async (trial) => {
        const padded = unique(trial).padEnd(255, "x");
        const one = trial.intent();
        const longest = { keys: [`"${padded}"`] };
        await checkSameKey(one, [longest, longest]);
        await checkRefused(trial.route, [`"${padded}x"`], "of 256 bytes");
      },
      mounted: {
        needs: "a store whose calls can be counted",
        test: async ({ mount }) => {
          const { calls, watch } = watchedStore();
          const route = await mount({ store: watch });
          await checkRefused(route, ["x".repeat(256)], "of 256 bytes");
          check(calls.length === 0, `A refused key cost ${calls.length} store calls.`);
        },
      },
    },
    {
      kind: "http",
      rule: "B-10",
      title: "control characters and non-ASCII bytes are refused",
      test: async ({ route }) => {
        const utf8 = Buffer.from("ü€😀").toString("latin1");
        const foreign = ["\u0001", "\u007f", "\u0080", "\u00ff", utf8, "a\tb", "a b"];
        for (const bytes of foreign) await checkRefused(route, [bytes], "with bytes beyond ASCII");
        for (const bytes of foreign.slice(0, -1)) {
          await checkRefused(route, [`"a${bytes}"`], "with bytes beyond ASCII");
        }
      },
    },
    {
      kind: "http",
      rule: "B-11",
      title: "a key sent twice, in two lines or in one, is refused",
      test: async ({ route }) => {
        const twice = [['"a"', '"b"'], ['"a", "b"'], ["a", "b"], ["a, b"], ["a,b"], ['"a"', '"a"']];
        for (const lines of twice) await checkRefused(route, lines, "sent twice");
      },
    },
    {
      kind: "http",
      rule: "B-12",
      title: "the header's name is read in any case",
      test: async ({ intent, facts }) => {
        const one = intent({}, { keys: [] });
        const key = facts.strict ? `"${one.key}"` : one.key;
        const names = ["idempotency-key", "IDEMPOTENCY-KEY", "iDeMpOtEnCy-KeY"];
        await checkSameKey(
          one,
          names.map((name) => ({ headers: [[name, key]] })),
        );
      },
    },
    {
      kind: "http",
      rule: "B-13",
      title: "keys that differ in case are different keys",
      test: async (trial) => {
        const key = `Key-${unique(trial)}-a`;
        await checkApart(trial, [key, key.toUpperCase(), key.toLowerCase()]);
      },
    },
    {
      kind: "http",
      rule: "B-14",
      title: "separators in a key cannot make it another's",
      test: async (trial) => {
        const key = unique(trial);
        const tails = ["", ":", ":1", "{1}", "*", "/..", "%00", "|", "\\", "?"];
        await checkApart(
          trial,
          tails.map((tail) => key + tail),
        );
      },
      mounted: {
        needs: "callers whose scope is known",
        test: async ({ intent, subject }) => {
          const [[name, value] = ["", ""]] = subject.callers.first;
          // Scope and key side by side, and with the operation between them.
          for (const joint of [":", "|", "/", ":POST /r:", "|POST /r|", "/POST /r/"]) {
            const { key } = intent();
            const other = intent({ body: "other" }, { keys: [key] });
            await intent({ body: "one" }, { keys: [`"b${joint}${key}"`] }).send();
            const headers = [[name, `${value}${joint}b`]] as const;
            const answer = await other.send({ as: "nobody", headers });
            checkSafe(answer.body.toString() === "other", "Two callers' scopes and keys met.");
            await other.ran(1);
          }
        },
      },
    },
    {
      kind: "http",
      rule: "B-15",
      title: "refusals never repeat the key",
      test: async ({ intent, whileRunning, skip, facts }) => {
        if (facts.lacks.holds !== undefined) skip(facts.lacks.holds);
        const silent = (answer: WireAnswer, key: string): void => {
          check(answer.status >= 400, `What must be refused got ${answer.status}.`);
          const text = answer.body.toString("latin1") + JSON.stringify(answer.headers);
          check(!text.includes(key), `The refusal (${answer.status}) repeats the key.`);
        };
        const one = intent();
        await one.send();
        silent(await one.send({ body: "another" }), one.key);
        silent(await one.send({ keys: [`"${one.key}`] }), one.key);
        silent(await one.send({ keys: [one.key.repeat(9)] }), one.key);
        if (facts.waits) return;
        await whileRunning(
          () => intent(),
          async (held) => silent(await held.send(), held.key),
        );
      },
    },
    {
      kind: "http",
      rule: "B-16",
      title: "GET, HEAD and OPTIONS pass, whatever key they carry",
      test: async ({ intent, facts, skip }) => {
        const safe = ["GET", "HEAD", "OPTIONS"].filter((method) => facts.methods.has(method));
        if (safe.length === 0) skip("Neither GET nor HEAD nor OPTIONS reaches the handler.");
        for (const method of safe) {
          const one = intent({}, { method });
          for (const who of ["The first", "The second"]) {
            checkStatus(await one.send(), 200, `${who} ${method} with a key`);
          }
          await one.ran(2);
        }
      },
    },
    {
      kind: "http",
      rule: "B-17",
      title: "PUT and DELETE pass, or are protected where they are listed",
      test: async ({ intent, facts, skip }) => {
        const listed = ["PUT", "DELETE"].filter((method) => facts.methods.has(method));
        if (listed.length === 0) skip("Neither PUT nor DELETE reaches the handler.");
        for (const method of listed) {
          const one = intent({}, { method });
          const first = await one.send();
          checkStatus(first, 200, `The first ${method}`);
          const second = await one.send();
          checkStatus(second, 200, `The second ${method}`);
          await one.ran(isReplay(second) ? 1 : 2);
        }
      },
      mounted: {
        needs: "routes mounted with and without { methods }",
        test: async ({ mount }) => {
          const plain = (await mount({})).intent({}, { method: "PUT" });
          await plain.send();
          await plain.send();
          await plain.ran(2);
          const methods = ["POST", "put"];
          const listed = (await mount({ options: { methods } })).intent({}, { method: "PUT" });
          const first = await listed.send();
          await checkRetry(listed, first);
        },
      },
    },
  ],
};

async function checkMissing(route: Route): Promise<void> {
  const bare = route.intent({}, { keys: [] });
  const answer = await bare.send();
  checkProblem(
    answer,
    { status: 400, code: "key-missing", title: "Idempotency-Key is missing" },
    "A request without a key",
  );
  const link = answer.headers.find(([name]) => name.toLowerCase() === "link")?.[1] ?? "";
  check(/rel="?describedby"?/.test(link), "The refusal has no Link to its documentation.");
  await bare.ran(0);
}
