/** The battery as a route handler of the App Router, over SQLite. */
import { sqliteStore } from "latchkey/sqlite";
import { createBattery } from "@/support/battery";

interface Context {
  readonly params: Promise<{ readonly path: readonly string[] }>;
}

export const POST = createBattery<[context: Context]>({
  store: () => sqliteStore(process.env["PLACE"] ?? ":memory:"),
});
