// A real PgBouncer that pools transactions in front of a Postgres: few server connections, handed
// to whichever client's transaction comes next.

import { spawn } from "node:child_process";
import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensurePgbouncer } from "../../scripts/ensure-postgres.ts";
import { until } from "./poll.ts";
import { serverUser } from "./postgres-server.ts";
import { end, guard, hasEnded, onFreePort, slay } from "./server-process.ts";

export interface Pgbouncer {
  readonly url: string;
  readonly stop: () => Promise<void>;
}

/** Starts one with three connections to the server; throws where there is no PgBouncer. */
export async function startPgbouncer(serverPort: number): Promise<Pgbouncer> {
  const program = ensurePgbouncer();
  if (program === undefined)
    throw new Error("No pgbouncer: install it (apt-get install pgbouncer).");
  const folder = mkdtempSync(join(tmpdir(), "latchkey-pgbouncer-"));
  const { uid, gid } = serverUser();
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
  const { child, port } = await onFreePort(async (free) => {
    writeFileSync(join(folder, "pgbouncer.ini"), configuration(serverPort, free));
    return { child: await launch(program, folder), port: free };
  });
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    stop: async () => {
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function configuration(serverPort: number, port: number): string {
  return `
[databases]
* = host=127.0.0.1 port=${serverPort} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
`;
}

async function launch(program: string, folder: string) {
  const child = spawn(program, [join(folder, "pgbouncer.ini")], {
    stdio: ["ignore", "ignore", "pipe"],
    cwd: folder,
    ...serverUser(),
  });
  let log = "";
  child.stderr.on("data", (bytes: Buffer) => (log = (log + bytes.toString()).slice(-4_000)));
  child.on("error", (error) => void (log += error.message));
  guard(child);
  try {
    await until(() => hasEnded(child) || log.includes("process up"), { withinMs: 10_000 });
  } catch (cause) {
    await slay(child);
    throw new Error(`PgBouncer did not get ready:\n${log}`, { cause });
  }
  if (hasEnded(child)) throw new Error(`PgBouncer ended at start:\n${log}`);
  return child;
}
