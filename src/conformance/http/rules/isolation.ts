/** Section 9: callers kept apart, and what is told to whom. */
import type { WireAnswer } from "../wire/answer-reader.ts";
import { brief, check, checkSafe, checkStatus, headerOf, isReplay } from "../checks.ts";
import { checkRetry } from "../retry.ts";
import type { Section } from "../rule.ts";
import { watchedStore } from "../watched-store.ts";

const two = "It needs two callers (--as, twice).";

export const isolation: Section = {
  title: "Isolation and security",
  rules: [
    {
      kind: "http",
      rule: "B-100",
      title: "two callers may use the same key, and never meet",
      test: async ({ intent, subject, skip }) => {
        if (subject.callers.other === undefined) skip(two);
        const one = intent({ body: "for the first caller" });
        const first = await one.send();
        checkStatus(first, 200, "The first caller");
        const tell = { id: `${one.id}-other`, body: "for the other caller" };
        const other = await one.send({ as: "other", tell });
        checkSafe(!other.body.equals(first.body), "Another caller got the first caller's answer.");
        checkStatus(other, 200, "Another caller with the same key");
        check(!isReplay(other), "Another caller's first answer is marked as a replay.");
        await checkRetry(one, first, { who: "The first caller's retry" });
        await checkRetry(one, other, {
          change: { as: "other", tell },
          who: "The other caller's retry",
        });
      },
    },
    {
      kind: "http",
      rule: "B-101",
      title: "a route cannot be built without a scope, nor used without a caller",
      mounted: {
        needs: "a route whose scope can be left out",
        test: async ({ mount, intent }) => {
          const built = await mount({ options: { scope: undefined } }).catch(
            (error: unknown) => error,
          );
          check(built instanceof TypeError, "A route without a scope was built without complaint.");
          const one = intent();
          const nobody = await one.send({ as: "nobody" });
          checkSafe(nobody.status >= 400, `A request without a caller got ${brief(nobody)}.`);
          check(nobody.status < 500, `A request without a caller got ${brief(nobody)}.`);
          await one.ran(0);
        },
      },
    },
    {
      kind: "http",
      rule: "B-102",
      title: "a newer credential of the same caller still gets the replay",
      test: async ({ intent, subject, skip }) => {
        if (subject.callers.rotated === undefined) {
          skip("It needs another credential of the same caller (--rotated).");
        }
        const one = intent({ body: "for one caller" });
        const first = await one.send();
        await checkRetry(one, first, {
          change: { as: "rotated" },
          who: "A retry with a newer credential",
        });
      },
    },
    {
      kind: "http",
      rule: "B-103",
      title: "the store sees neither keys nor bodies of requests, only digests",
      mounted: {
        needs: "a store whose calls can be read",
        test: async ({ mount, subject }) => {
          const { calls, watch } = watchedStore();
          const [[, scope] = ["", ""]] = subject.callers.first;
          const body = '{"card":"4242-of-the-request"}';
          const one = (await mount({ store: watch })).intent({ body: "of the answer" }, { body });
          await one.send();
          await one.send();
          await one.send({ body: "another" });
          const seen = calls.map(({ given }) => textOf(given)).join("\n");
          checkSafe(seen.includes("of the answer"), "The rule does not see what is stored.");
          checkSafe(!seen.includes(one.key), "The store was given a key.");
          checkSafe(!seen.includes("4242-of-the-request"), "The store was given a request's body.");
          checkSafe(!seen.split("\n").includes(scope), "The store was given a scope.");
        },
      },
    },
    {
      kind: "http",
      rule: "B-104",
      title: "nobody learns whether another caller uses a key",
      test: async ({ intent, subject, skip }) => {
        if (subject.callers.other === undefined) skip(two);
        const used = intent({ body: "for one caller" });
        await used.send();
        await used.send({ body: "another" });
        const fresh = intent({ body: "for the other caller" });
        const tell = { id: `${used.id}-other`, body: "for the other caller" };
        const [onUsed, onFresh] = [
          await used.send({ as: "other", tell }),
          await fresh.send({ as: "other" }),
        ];
        check(
          outline(onUsed) === outline(onFresh),
          `A key of another caller got ${brief(onUsed)}; a fresh one ${brief(onFresh)}.`,
        );
      },
    },
    {
      kind: "http",
      rule: "B-105",
      title: "scripts of other origins may read the layer's headers and send keys",
      needs: ["cors"],
      test: async ({ intent, subject }) => {
        const headers = [["Origin", "https://a.example"]] as const;
        const one = intent();
        await one.send({ headers });
        const replay = await one.send({ headers });
        const refused = await one.send({ headers, body: "another" });
        for (const [answer, name] of [
          [replay, "idempotency-replayed"],
          [refused, subject.mountable ? "x-should-retry" : ""],
        ] as const) {
          const exposed = (headerOf(answer, "access-control-expose-headers") ?? "").toLowerCase();
          const isExposed = exposed === "*" || name === "" || exposed.includes(name);
          check(isExposed, `A script cannot read ${name} of ${brief(answer)}.`);
        }
        const preflight = await one.send({
          method: "OPTIONS",
          keys: [],
          headers: [
            ...headers,
            ["Access-Control-Request-Method", "POST"],
            ["Access-Control-Request-Headers", "idempotency-key"],
          ],
        });
        const allowed = (headerOf(preflight, "access-control-allow-headers") ?? "").toLowerCase();
        check(
          allowed === "*" || allowed.includes("idempotency-key"),
          "A preflight does not allow the Idempotency-Key header.",
        );
      },
    },
  ],
};

function outline(answer: WireAnswer): string {
  const names = answer.headers.map(([name]) => name.toLowerCase()).toSorted();
  return JSON.stringify([answer.status, names, answer.body.toString("latin1")]);
}

/** Every string and every byte of what a store was given, one a line. */
function textOf(given: unknown): string {
  if (given instanceof Uint8Array) return Buffer.from(given).toString("latin1");
  if (typeof given === "object" && given !== null)
    return Object.values(given).map(textOf).join("\n");
  return String(given);
}
