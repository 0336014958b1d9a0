/** `latchkey schema`: prints what the Postgres store needs in its database, for others to run. */
import { Command } from "commander";
import { migrationSql } from "../../stores/postgres/postgres-store.ts";

/** The subcommand; a bad name is a user's mistake. */
export function schemaCommand(): Command {
  return new Command("schema")
    .description("Print the SQL that creates or upgrades the Postgres store's schema.")
    .option("--schema <name>", "the schema's name", "latchkey")
    .action(({ schema }: { readonly schema: string }) => {
      process.stdout.write(migrationSql({ schema }));
    });
}
