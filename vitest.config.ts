import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import type { Plugin } from "vitest/config";

const nest11 = fileURLToPath(new URL("test/matrix/nest11/package.json", import.meta.url));

/** Resolves Nest as if everything stood in the folder that has Nest 11 installed. */
const asOfNest11: Plugin = {
  name: "as-of-nest-11",
  enforce: "pre",
  resolveId(source) {
    const isNest = /^(@nestjs\/|rxjs$|reflect-metadata$)/.test(source);
    return isNest ? this.resolve(source, nest11, { skipSelf: true }) : undefined;
  },
};

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 30_000,
    pool: "forks",
    // Most tests wait for servers and leases more than they compute.
    maxWorkers: Math.max(3, Math.ceil(availableParallelism() / 2)),
    globalSetup: ["test/support/global-setup.ts"],
    projects: [
      {
        extends: true,
        test: {
          name: "latchkey",
          include: ["test/**/*.test.ts", "!test/matrix/nest11/**"],
        },
      },
      {
        extends: true,
        plugins: [asOfNest11],
        test: { name: "nest 11", include: ["test/matrix/nest11/*.test.ts"], env: { NEST: "11" } },
      },
    ],
  },
});
