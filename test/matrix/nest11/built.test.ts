/** The package as it is built, in plain Node beside Nest 11: its imports hold there, too. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const installed = here("node_modules/latchkey");

beforeAll(() => {
  rmSync(installed, { recursive: true, force: true });
  for (const name of ["dist", "package.json"]) {
    cpSync(here(`../../../${name}`), `${installed}/${name}`, { recursive: true });
  }
});
afterAll(() => rmSync(installed, { recursive: true, force: true }));

it.each(["serve.js", "serve.cjs"])("%s executes once and replays (B-2, B-26)", async (script) => {
  const stdio = ["ignore", "pipe", "inherit"] as const;
  const server = spawn(process.execPath, [here(script)], {
    stdio: [...stdio],
    timeout: 15_000,
  });
  try {
    const [line] = (await Promise.race([
      once(server.stdout, "data"),
      once(server, "exit").then(() => Promise.reject(new Error("It ended before it listened."))),
    ])) as [Buffer];
    const post = (headers: Record<string, string>) =>
      fetch(`${line.toString().trim()}/payments`, { method: "POST", headers });
    expect((await post({})).status).toBe(400);
    for (const replayed of [null, "true"]) {
      const response = await post({ "idempotency-key": "k" });
      expect(await response.json()).toEqual({ run: 1, attempt: 1 });
      expect(response.headers.get("idempotency-replayed")).toBe(replayed);
    }
  } finally {
    server.kill("SIGKILL");
  }
});
