/** The tests of Nest's adapter once more, with Nest 11 in the place of Nest 12. */
import { expect, it } from "vitest";
import core from "@nestjs/core/package.json" with { type: "json" };
import onFastify from "@nestjs/platform-fastify/package.json" with { type: "json" };
import "../../adapters/nest.test.ts";
import "../../adapters/nest-answers.test.ts";
import "../../adapters/nest-replays.test.ts";
import "../../adapters/nest-rules.test.ts";
import "../../adapters/nest-streams.test.ts";

it("is Nest 11 that is tested here", () => {
  for (const { version } of [core, onFastify]) expect(version).toMatch(/^11\./);
});
