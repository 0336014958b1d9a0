/** The fetch adapter on Workers: bundled as wrangler does, run by workerd itself. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../support/poll.ts";
import { startRedis } from "../../support/redis-server.ts";
import { commandOf, layExamples, layFiles, layPackage, typeErrors } from "../support/lay.ts";
import { describeBattery } from "../support/rules.ts";
import { startServer } from "../support/server-process.ts";
import type { ServerProcess } from "../support/server-process.ts";

const cwd = layPackage("workers");
layFiles(cwd, ["workers/worker.ts", "support/battery.ts"]);

interface Settings {
  readonly main: string;
  readonly date: string;
  readonly flags?: readonly string[];
  readonly vars?: Readonly<Record<string, string>>;
}

/** Bundles a Worker with wrangler and serves it with workerd, each test's own on a free port. */
async function serve(settings: Settings): Promise<ServerProcess> {
  const { main, date, flags = [] } = settings;
  const name = basename(main, ".ts");
  const out = join("out", `${name}-${date}`);
  const dated = ["--compatibility-date", date];
  const compatibility = flags.length > 0 ? [...dated, "--compatibility-flags", ...flags] : dated;
  const args = ["deploy", main, "--dry-run", "--name", name, "--outdir", out, ...compatibility];
  const bundled = spawnSync(process.execPath, [commandOf("workers", "wrangler"), ...args], {
    cwd,
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "1" },
    encoding: "utf8",
  });
  if (bundled.status !== 0) throw new Error(`wrangler: ${bundled.stdout}${bundled.stderr}`);
  writeFileSync(join(cwd, out, "config.capnp"), configuration(`${name}.js`, settings));
  const command = ["serve", join(out, "config.capnp"), "--control-fd=1"];
  return startServer(commandOf("workers", "workerd"), command, { cwd, port: /"port":\s*(\d+)/ });
}

function configuration(file: string, { date, flags = [], vars = {} }: Settings): string {
  const bindings = Object.entries(vars).map(([key, value]) => `(name="${key}", text="${value}")`);
  return `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["local", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [(name = "${file}", esModule = embed "${file}")],
  compatibilityDate = "${date}",
  compatibilityFlags = [${flags.map((flag) => `"${flag}"`).join()}],
  bindings = [${bindings.join()}],
);
`;
}

const main = "workers/worker.ts";
const current = { main, date: "2026-11-01" };
const post = (url: string, headers: Readonly<Record<string, string>> = {}, body = "") =>
  fetch(url, { method: "POST", body, headers: { "idempotency-key": "k", ...headers } });

describe("what only Workers do", () => {
  let served: ServerProcess | undefined;
  beforeAll(async () => void (served = await serve(current)), 60_000);
  afterAll(async () => served?.close());

  it.each(["late", "hono"])("goes on behind %s responses, by waitUntil (B-95)", async (path) => {
    const url = `${served?.url}/${path}`;
    expect(await (await post(url)).text()).toBe("run 1");
    const replay = await until(async () => {
      const response = await post(url);
      return response.status === 200 ? response : undefined;
    });
    expect(await replay.text()).toBe("run 1");
  });

  it.each(["automatic", "manual"])("compresses no %s body twice (B-32)", async (how) => {
    const url = `${served?.url}/encoded?${how}`;
    const plain = { "idempotency-key": how, "accept-encoding": "identity" };
    const zipped = { "idempotency-key": how, "accept-encoding": "gzip" };
    const answers = [await post(url, zipped), await post(url, zipped), await post(url, plain)];
    const replays = answers.map(({ headers }) => headers.has("idempotency-replayed"));
    expect(replays).toEqual([false, true, true]);
    for (const answer of answers) expect(await answer.text()).toBe("text ".repeat(100));
    expect(answers[2]?.headers.get("content-encoding")).toBeNull();
  });
});

describe("the example for Workers", () => {
  it("pays once, over Redis (B-26, B-55)", async () => {
    layExamples(cwd, "workers.md");
    const given = readFileSync(join(cwd, "wrangler.jsonc"), "utf8");
    const { main, compatibility_date: date } = JSON.parse(given) as Record<string, string>;
    const redis = await startRedis();
    const vars = { REDIS_URL: redis.url };
    const { url, close } = await serve({ main: String(main), date: String(date), vars });
    try {
      const pay = (body: string) => post(`${url}/payments`, { "x-customer": "c" }, body);
      for (const replayed of [null, "true"]) {
        const response = await pay('{"amount":42}');
        expect(response.headers.get("idempotency-replayed")).toBe(replayed);
        expect([response.status, await response.json()]).toEqual([201, { paid: 42 }]);
      }
      expect((await pay('{"amount":43}')).status).toBe(422);
      redis.pause();
      expect((await pay('{"amount":42}')).status).toBe(503);
    } finally {
      redis.resume();
      await close();
      await redis.stop();
    }
  });

  it("compiles with the types of Workers", () => {
    expect(typeErrors(cwd, ["src/worker.ts"], ["@cloudflare/workers-types"])).toBe("");
  });
});

describeBattery("Workers", () => serve(current), {
  upgrades: true,
});
const oldest = { main, date: "2024-10-14", flags: ["nodejs_compat"] };
describeBattery("Workers of 2024", () => serve(oldest));
