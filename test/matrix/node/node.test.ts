/** The fetch adapter on Node, as the other runtimes' tests have it, and the plain example. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { layExamples, layFiles, layPackage } from "../support/lay.ts";
import { describeBattery } from "../support/rules.ts";
import { startServer } from "../support/server-process.ts";

const cwd = layPackage("node");
layExamples(cwd, "fetch.md");
layFiles(cwd, ["node/server.ts", "support/battery.ts"]);

describeBattery("Node", () => startServer(process.execPath, ["node/server.ts"], { cwd }));

describe("the example of a fetch handler", () => {
  it("pays once for each customer (B-26, B-100)", async () => {
    const handler = (await import(join(cwd, "handler.ts"))) as {
      readonly fetch: (request: Request) => Promise<Response>;
    };
    const pay = (customer: string) =>
      handler.fetch(
        new Request("http://h/payments", {
          method: "POST",
          body: '{"amount":42}',
          headers: { "idempotency-key": "k", "x-customer": customer },
        }),
      );
    const answers = [await pay("a"), await pay("a"), await pay("b")];
    const replays = answers.map(({ headers }) => headers.get("idempotency-replayed"));
    expect(replays).toEqual([null, "true", null]);
    expect(await answers[1]?.json()).toEqual({ paid: 42, by: "a", attempt: 1 });
    expect(await answers[2]?.json()).toEqual({ paid: 42, by: "b", attempt: 1 });
  });
});
