/**
 * The start-up proof: the server is fit to keep records, the schema is there, and the client passes
 * commands through whole.
 */
import { isLatchkeyError, LatchkeyError } from "../../errors.ts";
import { comesThrough } from "../self-test.ts";
import type { Connection } from "./client.ts";
import type { Commands } from "./commands.ts";
import { answerOf } from "./replies.ts";
import { oldestServer, schemaVersion } from "./schema.ts";

const facts = `SELECT json_build_object(
  'version', current_setting('server_version'),
  'number', current_setting('server_version_num')::integer,
  'replica', pg_is_in_recovery(),
  'readOnly', current_setting('transaction_read_only'),
  'synchronousCommit', current_setting('synchronous_commit'),
  'fsync', current_setting('fsync')
)::text AS answer`;

interface Facts {
  readonly version: string;
  readonly number: number;
  readonly replica: boolean;
  readonly readOnly: "on" | "off";
  readonly synchronousCommit: string;
  readonly fsync: "on" | "off";
}

/** Refuses an old server, a replica, and (unless allowed) one that acknowledges before it wrote. */
export async function checkServer({ query }: Connection, allowVolatile: boolean): Promise<void> {
  const server = JSON.parse(answerOf(await query(facts, []))) as Facts;
  if (server.number < oldestServer) {
    throw unsuitable(`Postgres ${server.version} is too old. Use Postgres 14 or newer.`);
  }
  if (server.replica || server.readOnly === "on") {
    throw unsuitable("This Postgres is a replica or read-only. Connect to the writer.");
  }
  const loose = [
    ...(server.synchronousCommit === "off" ? ["synchronous_commit"] : []),
    ...(server.fsync === "off" ? ["fsync"] : []),
  ];
  if (loose.length > 0 && !allowVolatile) {
    throw unsuitable(
      `This Postgres may forget what it acknowledged (${loose.join(" and ")} off). Set it to on, ` +
        "or accept forgotten payments with allowVolatile: true.",
    );
  }
}

/** The schema's version, 0 where there is none. */
export async function versionOf(
  { query }: Connection,
  render: (text: string) => string,
): Promise<number> {
  const there = "SELECT (to_regclass('latchkey.migrations') IS NOT NULL)::text AS answer";
  if (answerOf(await query(render(there), [])) !== "true") return 0;
  const greatest = "SELECT coalesce(max(version), 0)::text AS answer FROM latchkey.migrations";
  return Number(answerOf(await query(render(greatest), [])));
}

/** Refuses a schema that is missing, older or newer than this version of Latchkey. */
export async function checkSchema(
  connection: Connection,
  render: (text: string) => string,
): Promise<void> {
  const version = await versionOf(connection, render);
  if (version === schemaVersion) return;
  if (version > schemaVersion) {
    throw unsuitable(
      `The schema has version ${version}, newer than ${schemaVersion}. Install a newer Latchkey.`,
    );
  }
  const state =
    version === 0 ? "is missing" : `has version ${version}, older than ${schemaVersion}`;
  throw unsuitable(`The store's schema ${state}. Run store.migrate().`);
}

/** Rejects with `store-unsuitable` unless text, bytes and conditions come through. */
export async function checkClient(commands: Commands): Promise<void> {
  try {
    if (await comesThrough(commands)) return;
  } catch (error) {
    // What came through changed may be no reply at all.
    if (!isLatchkeyError(error) || error.code !== "store-corrupt") throw error;
  }
  throw unsuitable(
    "The Postgres client failed the self-test: text or bytes came through changed. " +
      "Use a plain client of pg, postgres.js or PGlite, without type parsers for text and bytea.",
  );
}

function unsuitable(message: string): LatchkeyError {
  return new LatchkeyError("store-unsuitable", message);
}
