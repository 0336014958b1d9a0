/** Who gets at the records: ACL users with the least permissions, and TLS. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GlideClient } from "@valkey/valkey-glide";
import { Redis } from "ioredis";
import { Redis as RedisOfValkey } from "iovalkey";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import type { RedisClient } from "../../src/stores/redis/redis-store.ts";
import { until } from "../support/poll.ts";
import { documentedPermissions } from "../support/redis-acl.ts";
import { startRedisPair } from "../support/redis-pair.ts";
import type { RedisPair } from "../support/redis-pair.ts";
import { startRedis } from "../support/redis-server.ts";
import { freePort } from "../support/server-process.ts";
import { scriptedSubject } from "../support/subjects.ts";

const owner = "a" as OwnerToken;
const result = Uint8Array.of(1);
const closers: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

describe("an ACL user", () => {
  const documented = documentedPermissions();
  const permissions = [...documented]
    .filter(([purpose]) => !purpose.includes("Cluster"))
    .flatMap(([, some]) => some);
  let pair: RedisPair;
  beforeAll(async () => {
    pair = await startRedisPair(["--appendonly", "no", "--save", "3600", "1"]);
    closers.push(() => pair.stop());
  });

  let users = 0;
  async function user(granted: readonly string[]): Promise<string> {
    const username = `user-${(users += 1)}`;
    const fresh = ["reset", "on", ">pw", "resetchannels", ...granted];
    await pair.onMaster.call("ACL", "SETUSER", username, ...fresh);
    return username;
  }

  /** What does not work with these permissions. */
  async function failures(granted: readonly string[]): Promise<readonly string[]> {
    const username = await user(granted);
    const { port } = pair.master;
    const options = { username, password: "pw", enableReadyCheck: false, maxRetriesPerRequest: 0 };
    const redis = new Redis(port, "127.0.0.1", options);
    redis.on("error", () => undefined);
    const store = redisStore(redis);
    const sure = redisStore(redis, { acknowledge: { timeout: "1s" } });
    const warnings: Error[] = [];
    const listen = (warning: Error): void => void warnings.push(warning);
    process.on("warning", listen);
    const failed: string[] = [];
    const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
      await work().catch(() => failed.push(what));
    };
    const id = username as RecordId;
    const lasting = claimBy(owner, { leaseMs: 60_000, retentionMs: 60_000 });
    await pair.onMaster.script("FLUSH");
    await attempt("commands", async () => {
      await store.claim(id, lasting);
      await store.renew(id, owner, 60_000);
      await store.commit(id, owner);
      await store.step(id, { owner, name: "s", result });
      await store.note({ id, reason: "bypassed", operation: "o" });
      await store.get(id);
    });
    await attempt("scan", () => store.list());
    await attempt("notes", () => store.attention());
    let nudges = 0;
    await attempt("watch", async () => {
      const stop = await store.watch?.(id, () => (nudges += 1));
      await store.complete(id, { owner, result, retentionMs: 60_000 });
      await until(() => nudges > 0, { withinMs: 250 });
      stop?.();
      const gone = async () =>
        !((await pair.onMaster.call("PUBSUB", "SHARDCHANNELS")) as string[]).length;
      await until(gone, { withinMs: 250 });
    });
    await attempt("acknowledge", () => sure.claim(`${id}-b` as RecordId, lasting));
    await attempt("check", async () => {
      await store.check();
      await new Promise((resolve) => setImmediate(resolve));
      if (warnings.some(({ message }) => message.includes("unverified"))) throw new Error("warned");
    });
    await attempt("forget", () => store.forget(id));
    process.off("warning", listen);
    await Promise.all([store.close(), sure.close()]);
    redis.disconnect();
    return failed;
  }

  it("with the documented permissions can do all of it", async () => {
    expect(permissions.length).toBeGreaterThan(12);
    expect(await failures(permissions)).toEqual([]);
  });

  it.each(permissions)("needs each of them: %s", async (permission) => {
    expect(await failures(permissions.filter((one) => one !== permission))).not.toEqual([]);
  });

  it("reaches no key outside the prefix", async () => {
    const username = await user(permissions);
    const redis = new Redis(pair.master.port, "127.0.0.1", { username, password: "pw" });
    closers.push(() => redis.disconnect());
    const foreign = redisStore(redis, { prefix: "other:" });
    const failure = foreign.claim("x" as RecordId, claimBy(owner));
    await expect(failure).rejects.toMatchObject({ code: "store-unavailable" });
    await expect(redis.get("other:x")).rejects.toThrow("NOPERM");
  });

  it("is enough for the other clients", async () => {
    const username = await user(permissions);
    const { port, url } = pair.master;
    const iovalkey = new RedisOfValkey(port, "127.0.0.1", { username, password: "pw" });
    const node = await createClient({ url, username, password: "pw" }).connect();
    const glide = await GlideClient.createClient({
      addresses: [{ host: "127.0.0.1", port }],
      credentials: { username, password: "pw" },
    });
    closers.push(
      () => iovalkey.disconnect(),
      () => node.destroy(),
      () => glide.close(),
    );
    for (const client of [iovalkey, node, glide]) {
      await expect(redisStore(client).check()).resolves.toBeUndefined();
    }
  });
});

describe("TLS", () => {
  it("keeps the contract, with copies for waiting and a CA of one's own", async () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-tls-"));
    closers.push(() => rmSync(folder, { recursive: true }));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const request = "req -x509 -newkey rsa:2048 -nodes -days 2".split(" ");
    const made = spawnSync("openssl", [...request, "-keyout", key, "-out", cert, ...subject]);
    expect(String(made.stderr)).not.toContain("rror");
    const port = await freePort();
    const files = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"];
    const server = await startRedis({ args: ["--tls-port", String(port), ...files] });
    closers.push(() => server.stop());
    const ca = readFileSync(cert, "utf8");
    const url = `rediss://localhost:${port}`;
    const ioredis = new Redis(url, { tls: { ca } });
    const node = await createClient({ url, socket: { tls: true, ca } }).connect();
    closers.push(
      () => ioredis.disconnect(),
      () => node.destroy(),
    );
    for (const client of [ioredis, node] as RedisClient[]) {
      const { store, clock } = scriptedSubject(client);
      closers.push(() => store.close());
      await store.check();
      const tests: (() => Promise<void>)[] = [];
      const subject = { store, clock };
      storeSuite({ it: (_, test) => tests.push(test), subject: () => subject, histories: 2 });
      for (const test of tests) await test();
      let nudges = 0;
      const id = "woken" as RecordId;
      const claim = claimBy(owner, { leaseMs: 60_000, retentionMs: 60_000 });
      await store.claim(id, claim);
      const stop = await store.watch?.(id, () => (nudges += 1));
      await store.release(id, owner);
      await until(() => nudges > 0);
      stop?.();
      await store.forget(id);
    }
    const plain = new Redis(url, { tls: {}, retryStrategy: () => null });
    const failure = new Promise((resolve) => plain.once("error", resolve));
    expect(String(await failure)).toMatch(/self-signed|certificate/);
  });
});
