/**
 * An owner that is paused for longer than its lease, at each point of its work, while a rival asks:
 * what each regime keeps, and where plain takeover shows that no lease can take an effect back.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { effectsIn, startEffects } from "../../support/effect-process.ts";
import type { EffectProcess, Regime } from "../../support/effect-process.ts";
import { until } from "../../support/poll.ts";
import { startRedis } from "../../support/redis-server.ts";
import type { RedisProcess } from "../../support/redis-server.ts";

let folder: string;
let redis: RedisProcess;
const running: EffectProcess[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "latchkey-points-"));
  redis = await startRedis();
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.kill()));
});
afterAll(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true });
});

let count = 0;
const stores: readonly (readonly [string, () => string])[] = [
  ["SQLite", () => `sqlite:${join(folder, `${count}.db`)}`],
  ["Redis", () => redis.url],
];

/** The points of `effect-server.ts`, by how many pauses its handler has come to. */
const points = { "before commit()": 1, "before the effect": 2, "behind the effect": 3 } as const;
type Point = keyof typeof points;
interface Expected {
  readonly effects: number;
  /** What a retry gets when all is over. */
  readonly retry: string;
}

const byRival = "k by attempt 2";
const byOwner = "k by attempt 1";
const cells: readonly (readonly [Regime, Point, Expected])[] = [
  ["commit", "before commit()", { effects: 1, retry: byRival }],
  ["commit", "before the effect", { effects: 1, retry: byOwner }],
  ["commit", "behind the effect", { effects: 1, retry: byOwner }],
  ["never-take-over", "before commit()", { effects: 1, retry: byOwner }],
  ["never-take-over", "before the effect", { effects: 1, retry: byOwner }],
  ["never-take-over", "behind the effect", { effects: 1, retry: byOwner }],
  // No guarantee here, and this is what that looks like: two effects.
  ["takeover", "before the effect", { effects: 2, retry: byRival }],
  ["takeover", "behind the effect", { effects: 2, retry: byRival }],
];

describe.each(stores)("an owner paused beyond its lease on %s", (name, url) => {
  it.each(cells)("with %s, %s: %o", async (regime, point, { effects, retry }) => {
    count += 1;
    const file = join(folder, `${name}-${count}.txt`);
    const key = `k${count}`;
    const options = { store: url(), file, regime, pauseMs: 300 };
    const [owner, rival] = await Promise.all([startEffects(options), startEffects(options)]);
    running.push(owner, rival);
    const first = owner.post(key).then((response) => response.text());
    first.catch(() => undefined); // a paused server answers late, or never
    await until(() => owner.pauses() === points[point] || undefined, { everyMs: 1 });
    owner.signal("SIGSTOP");
    // The rival asks until it has an answer of its own, or a refusal that is final.
    const seen = await until(
      async () => {
        const response = await rival.post(key);
        const text = await response.text();
        return text.includes('"in-progress"') ? undefined : text;
      },
      { withinMs: 15_000, everyMs: 50 },
    );
    owner.signal("SIGCONT");
    await first.catch(() => undefined);
    const last = await until(async () => {
      const response = await rival.post(key);
      return response.status === 200 ? response.text() : undefined;
    });
    expect(last).toBe(retry.replace("k", key));
    expect(effectsIn(file)).toHaveLength(effects);
    expect(seen.includes("outcome-unknown")).toBe(retry === byOwner);
  });
});
