/** The fetch adapter on Workers: bundled as wrangler does, run by workerd itself. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { until } from "../../support/poll.ts";
import { commandOf, layFiles, layPackage } from "../support/lay.ts";
import { describeBattery } from "../support/rules.ts";
import { startServer } from "../support/server-process.ts";
import type { ServerProcess } from "../support/server-process.ts";

const cwd = layPackage("workers");
layFiles(cwd, ["workers/worker.ts", "support/battery.ts"]);

interface Settings {
  readonly date: string;
  readonly flags: readonly string[];
}

/** Bundles a Worker and serves it, with the settings that stand in `wrangler.jsonc` otherwise. */
async function serve(
  entry: string,
  { date, flags }: Settings,
  vars: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  const name = `${entry.replaceAll(/\W/g, "-")}-${date}`;
  const conditions = "--conditions=workerd,worker,browser";
  const externals = ["--external:node:*", "--external:cloudflare:*"];
  const out = ["--bundle", "--format=esm", "--target=es2024", `--outfile=${name}.js`];
  const esbuild = commandOf("workers", "esbuild");
  const bundled = spawnSync(esbuild, [entry, conditions, ...externals, ...out], { cwd });
  if (bundled.status !== 0) throw new Error(bundled.stderr.toString());
  writeFileSync(join(cwd, `${name}.capnp`), configuration(name, { date, flags }, vars));
  const args = ["serve", `${name}.capnp`, "--control-fd=1"];
  return startServer(commandOf("workers", "workerd"), args, { cwd, port: /"port":\s*(\d+)/ });
}

function configuration(
  name: string,
  { date, flags }: Settings,
  vars: Readonly<Record<string, string>>,
): string {
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
  modules = [(name = "${name}.js", esModule = embed "${name}.js")],
  compatibilityDate = "${date}",
  compatibilityFlags = [${flags.map((flag) => `"${flag}"`).join()}],
  bindings = [${bindings.join()}],
);
`;
}

const current = { date: "2026-11-01", flags: [] };
describe("work behind the response of a Worker", () => {
  it("goes on until the result is recorded, by waitUntil of its context (B-95)", async () => {
    const { url, close } = await serve("workers/worker.ts", current);
    const post = () =>
      fetch(`${url}/late`, { method: "POST", headers: { "idempotency-key": "k" } });
    try {
      expect(await (await post()).text()).toBe("run 1");
      const replay = await until(async () => {
        const response = await post();
        return response.status === 200 ? response : undefined;
      });
      expect(await replay.text()).toBe("run 1");
    } finally {
      await close();
    }
  });
});

describeBattery("Workers", () => serve("workers/worker.ts", current), {
  upgrades: true,
});
const oldest = { date: "2024-10-14", flags: ["nodejs_compat"] };
describeBattery("Workers of 2024", () => serve("workers/worker.ts", oldest));
