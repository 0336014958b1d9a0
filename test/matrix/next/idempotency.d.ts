/** The module of the example in `docs/adapters/next.md`, for the routes of the test beside it. */
import type { Engine } from "latchkey";

export const engine: Engine;
