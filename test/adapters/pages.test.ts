/**
 * The examples of the adapters' pages, word for word, as the processes that a reader would start:
 * the built package, Node's own TypeScript, a SQLite file. Nest's decorators need the compiler.
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startServer } from "../matrix/support/server-process.ts";
import type { ServerProcess } from "../matrix/support/server-process.ts";
import { layPages } from "../support/adapter-pages.ts";

const scripts: ReadonlyMap<string, string> = new Map([
  ["express", "server.ts"],
  ["fastify", "server.ts"],
  ["hono", "server.ts"],
  ["koa", "server.ts"],
  ["nest", "server.js"],
  ["node", "server.ts"],
]);
const pages = [...scripts.keys()];
const servers = new Map<string, ServerProcess>();

beforeAll(async () => {
  const folder = layPages(pages);
  const port = /listening on .*?(\d+)\D*\n/; // the last number of the line, however it is printed
  const env = { PORT: "0" };
  const started = pages.map(async (page) => {
    const args = [scripts.get(page) ?? ""];
    const options = { cwd: join(folder, page), env, port };
    servers.set(page, await startServer(process.execPath, args, options));
  });
  await Promise.all(started);
});

afterAll(async () => {
  await Promise.all([...servers.values()].map((server) => server.close()));
});

it.each(pages)(
  "the example of %s pays once, and replays the same bytes (B-2, B-26, B-27, B-39, B-55, B-100)",
  async (page) => {
    const url = `${servers.get(page)?.url}/payments`;
    const pay = (headers: Readonly<Record<string, string>>, body = '{"amount":42}') =>
      asked(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body,
      });
    const alice = { "x-customer": "alice", "idempotency-key": "order-1" };

    const first = await pay(alice);
    const retry = await pay(alice);
    expect([first.status, first.replayed, first.body.includes("42")]).toEqual([201, null, true]);
    expect(retry).toEqual({ ...first, replayed: "true" });

    expect(refusal(await pay(alice, '{"amount":43}'))).toEqual([422, "key-reused"]);
    expect(refusal(await pay({ "x-customer": "alice" }))).toEqual([400, "key-missing"]);
    expect((await pay({ "idempotency-key": "order-1" })).status).toBe(401);
    expect(await paid(url)).toBe(1);

    const other = await pay({ ...alice, "x-customer": "bob" });
    expect([other.status, other.replayed]).toEqual([201, null]);
    expect(await paid(url)).toBe(2);
  },
);

interface Answered {
  readonly status: number;
  readonly body: string;
  readonly type: string | null;
  readonly location: string | null;
  readonly replayed: string | null;
}

async function asked(url: string, init: RequestInit): Promise<Answered> {
  const response = await fetch(url, init);
  const { status, headers } = response;
  const body = Buffer.from(await response.arrayBuffer()).toString("latin1");
  const [type = null, location = null, replayed = null] = [
    "content-type",
    "location",
    "idempotency-replayed",
  ].map((name) => headers.get(name));
  return { status, body, type, location, replayed };
}

function refusal({ status, body }: Answered): readonly unknown[] {
  const { code } = JSON.parse(body) as { readonly code?: unknown };
  return [status, code];
}

/** How many payments were made, by the books that each example shows. */
async function paid(url: string): Promise<number> {
  const { status, body } = await asked(url, { headers: { "x-customer": "alice" } });
  expect(status).toBe(200);
  return (JSON.parse(body) as readonly unknown[]).length;
}
