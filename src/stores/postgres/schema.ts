/**
 * The schema: its name, the SQL that makes it, and its version. The texts are in `sql/`; there the
 * schema is called `latchkey` and the channel of notifications `latchkey_nudge`.
 */
import * as migrations from "./sql/migrations.generated.ts";
import * as functions from "./sql/functions.generated.ts";

/** The version of the schema that this version of Latchkey works with. */
export const schemaVersion: number = Object.keys(migrations).length;
/** The oldest Postgres that has everything these texts use, as in `server_version_num`. */
export const oldestServer = 140_000;

export interface SchemaOptions {
  /**
   * The schema that holds the tables and functions, and nothing else. Default `"latchkey"`;
   * letters, digits, `_` and `-`, at most 50, not beginning with a digit. Case counts.
   */
  readonly schema?: string;
}

/** The texts of the schema; tests hand in a clock of their own. */
export type SchemaTexts = Readonly<Record<string, string>>;

/** What puts a schema's name into a text; throws `TypeError` for a name that is none. */
export function renderer({ schema = "latchkey" }: SchemaOptions): (text: string) => string {
  const isTaken = schema.startsWith("pg_") || /^(public|information_schema)$/.test(schema);
  if (!/^[A-Za-z_][\w-]{0,49}$/.test(schema) || isTaken) {
    throw new TypeError(
      "schema must be one of the store's own, of 1 to 50 letters, digits, _ and -, not beginning " +
        `with a digit or pg_; got ${JSON.stringify(schema)}.`,
    );
  }
  const channel = channelOf({ schema });
  return (text) =>
    text.replaceAll("latchkey.", `"${schema}".`).replaceAll("'latchkey_nudge'", `'${channel}'`);
}

/**
 * The channel on which this schema's records say that they have been settled: an identifier that
 * needs no quotes, because PGlite leaves them out.
 */
export function channelOf({ schema = "latchkey" }: SchemaOptions): string {
  return `${schema.toLowerCase().replaceAll("-", "_")}_nudge`;
}

/**
 * The SQL that creates the schema, or brings an older one to this version, for a migration tool of
 * your own. Run it in one transaction (`psql -1`), as a role that may create the schema; running it
 * again changes nothing. `store.migrate()` does the same. Throws `TypeError` for a bad schema name.
 */
export function migrationSql(options: SchemaOptions = {}): string {
  return composeMigration(options, functions);
}

/** `migrationSql` over given functions. */
export function composeMigration(options: SchemaOptions, texts: SchemaTexts): string {
  const render = renderer(options);
  const { record, ...commands } = texts;
  const parts = [
    prologue(options.schema ?? "latchkey"),
    ...Object.values(migrations),
    record ?? "",
    ...Object.values(commands),
    epilogue,
  ];
  return render(parts.join("\n"));
}

// One migration at a time: the lock is the transaction's, so it needs no session of its own.
function prologue(schema: string): string {
  return `-- The schema of Latchkey's Postgres store, version ${schemaVersion}.

SELECT set_config('client_min_messages', 'warning', true);
SELECT pg_advisory_xact_lock(hashtextextended('${schema} migrations', 0));
DO $latchkey$
DECLARE
  version integer;
BEGIN
  IF current_setting('server_version_num')::integer < ${oldestServer} THEN
    RAISE EXCEPTION 'Postgres % is too old. Use Postgres 14 or newer.',
      current_setting('server_version') USING ERRCODE = 'LK001';
  END IF;
  IF to_regclass('latchkey.migrations') IS NOT NULL THEN
    SELECT max(m.version) INTO version FROM latchkey.migrations AS m;
    IF version > ${schemaVersion} THEN
      RAISE EXCEPTION 'The schema has version %, newer than %. Install a newer Latchkey.',
        version, ${schemaVersion} USING ERRCODE = 'LK001';
    END IF;
  ELSIF to_regclass('latchkey.records') IS NOT NULL THEN
    RAISE EXCEPTION 'The schema holds tables of something else. Choose another.'
      USING ERRCODE = 'LK001';
  END IF;
  IF to_regnamespace('"${schema}"') IS NULL THEN
    CREATE SCHEMA "${schema}";
  END IF;
END
$latchkey$;
`;
}

const epilogue = `
INSERT INTO latchkey.migrations (version)
SELECT generate_series(1, ${schemaVersion}) ON CONFLICT (version) DO NOTHING;
`;
