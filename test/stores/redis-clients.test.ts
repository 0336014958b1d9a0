/** The Redis store through each of its clients, and the clients and servers that it refuses. */
import { once } from "node:events";
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { Redis as RedisOfValkey } from "iovalkey";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimBy } from "../../src/conformance/claim-by.ts";
import { storeSuite } from "../../src/conformance/store-suite.ts";
import type { StoreUnderTest } from "../../src/conformance/store-suite.ts";
import type { OwnerToken, RecordId } from "../../src/machine/record.ts";
import { redisStore } from "../../src/stores/redis/redis-store.ts";
import type { RedisClient } from "../../src/stores/redis/redis-store.ts";
import { singleClients } from "../support/redis-clients.ts";
import type { OpenClient } from "../support/redis-clients.ts";
import { startRedis } from "../support/redis-server.ts";
import type { RedisOptions, RedisProcess } from "../support/redis-server.ts";
import { scriptedSubject } from "../support/subjects.ts";

const closers: (() => unknown)[] = [];
let server: RedisProcess;
beforeAll(async () => {
  server = await start();
});
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
});

async function start(args: RedisOptions["args"] = []): Promise<RedisProcess> {
  const started = await startRedis({ args });
  closers.push(() => started.stop());
  return started;
}

function connect({ port }: RedisProcess, options: object = {}): Redis {
  const redis = new Redis(port, "127.0.0.1", options);
  closers.push(() => redis.disconnect());
  return redis;
}

const owner = "a" as OwnerToken;
const pipelining = { enableAutoPipelining: true, keyPrefix: "app:" };

describe.each(singleClients)("the Redis store through %s", (_name, open) => {
  let opened: OpenClient;
  let subject: StoreUnderTest;
  beforeAll(async () => {
    opened = await open({ host: "127.0.0.1", port: server.port });
    subject = scriptedSubject(opened.client);
  });
  afterAll(() => opened.close());
  storeSuite({ it, subject: () => subject, histories: 5 });

  it("passes the self-test (S-9)", async () => {
    await expect(redisStore(opened.client).check()).resolves.toBeUndefined();
  });
});

describe("a client of the Redis store", () => {
  it("is refused when its shape is unknown (S-9)", () => {
    expect(() => redisStore({} as never)).toThrow(/got an object of Object/);
    expect(() => redisStore(undefined as never)).toThrow(/got undefined/);
    const cluster = { sendCommand: (_key: string, _readonly: boolean, _args: string[]) => 1 };
    expect(() => redisStore(cluster as never)).toThrow(TypeError);
  });

  it("is refused when it changes values (S-9)", async () => {
    const redis = connect(server);
    const decoding = { callBuffer: (name: string, ...args: string[]) => redis.call(name, ...args) };
    const failure = redisStore(decoding).check();
    await expect(failure).rejects.toMatchObject({ code: "store-unsuitable" });
  });

  it.each([
    ["ioredis 6", () => new Redis(server.port, "127.0.0.1", pipelining)],
    ["ioredis 5", () => new Redis5(server.port, "127.0.0.1", pipelining)],
    ["iovalkey", () => new RedisOfValkey(server.port, "127.0.0.1", pipelining)],
  ])("may pipeline whatever is sent in one tick: %s", async (_name, open) => {
    const client = open();
    closers.push(() => client.disconnect());
    const store = redisStore(client);
    await store.check();
    const ids = ["a", "b", "c"].map((one) => `tick-${one}` as RecordId);
    const claims = ids.map((id) => store.claim(id, claimBy(owner, { leaseMs: 5000 })));
    expect((await Promise.all(claims)).map(({ kind }) => kind)).toEqual(ids.map(() => "claimed"));
    await client.set("latchkey:text", "no record");
    const failure = store.claim("text" as RecordId, claimBy(owner));
    await expect(failure).rejects.toMatchObject({ code: "store-corrupt" });
    for (const id of [...ids, "text" as RecordId]) await store.forget(id);
  });

  it("may put a prefix of its own before every key", async () => {
    const store = redisStore(connect(server, { keyPrefix: "app:" }), { prefix: "mine:" });
    await store.check();
    await store.claim("prefixed" as RecordId, claimBy(owner, { leaseMs: 5000 }));
    expect(await connect(server).exists("app:mine:prefixed")).toBe(1);
    expect((await store.list()).records.map(({ id }) => id)).toEqual(["prefixed"]);
    await store.note({ id: "prefixed" as RecordId, reason: "bypassed", operation: "o" });
    expect((await store.attention()).notes).toMatchObject([{ id: "prefixed" }]);
  });

  it("never has arguments repeated in errors, and warns where an ACL forbids looking", async () => {
    const admin = connect(server);
    const rights = ["~latchkey:*", "+@all", "-info", "-eval"];
    await admin.call("ACL", "SETUSER", "app", "on", ">pw", ...rights);
    const redis = connect(server, { username: "app", password: "pw" });
    const warned = once(process, "warning") as Promise<[Error]>;
    await admin.script("FLUSH");
    await redisStore(admin, { prefix: "latchkey:" }).check(); // loads the scripts
    await redisStore(redis).check();
    expect((await warned)[0].message).toContain("unverified");
    await admin.script("FLUSH");
    const secret = redisStore(redis).renew("id" as RecordId, "secret" as OwnerToken, 1);
    const error = (await secret.catch((caught: unknown) => caught)) as Error;
    expect(`${error.message} ${String(error.cause)}`).not.toContain("secret");
  });

  it.each(singleClients)("lets owners finish in a full Redis: %s", async (name, open) => {
    const { client, close } = await open({ host: "127.0.0.1", port: server.port });
    closers.push(close);
    const redis = connect(server);
    const store = redisStore(client);
    const [early, late] = [`early ${name}`, `late ${name}`] as [RecordId, RecordId];
    await store.claim(early, claimBy(owner, { leaseMs: 10_000 }));
    await redis.config("SET", "maxmemory", "1");
    const refused = store.claim(late, claimBy(owner));
    await expect(refused).rejects.toMatchObject({ code: "store-full" });
    const completion = { owner, result: new Uint8Array(9), retentionMs: 5000 };
    expect(await store.complete(early, completion)).toEqual({ kind: "recorded" });
    await redis.config("SET", "maxmemory", "0");
  });
});

describe("a server of the Redis store", () => {
  async function verdict(
    client: RedisClient,
    options: Parameters<typeof redisStore>[1] = {},
  ): Promise<string> {
    const warnings: string[] = [];
    const listen = ({ message }: Error): void => void warnings.push(message);
    process.on("warning", listen);
    const answer = await redisStore(client, options)
      .check()
      .then(() => "fit", String);
    await new Promise((resolve) => setImmediate(resolve)); // warnings come a turn later
    process.off("warning", listen);
    return [answer, ...warnings].join("; ");
  }

  it("is refused while it may evict, unless that is allowed", async () => {
    const redis = connect(await start(["--maxmemory-policy", "volatile-lru"]));
    expect(await verdict(redis)).toContain("may evict records (maxmemory-policy volatile-lru)");
    expect(await verdict(redis, { allowVolatile: true })).toBe("fit");
  });

  it("is refused when it persists nothing, unless that is allowed", async () => {
    const volatile = await start(["--appendonly", "no"]);
    expect(await verdict(connect(volatile))).toContain("does not persist");
    const other = createClient({ url: volatile.url });
    closers.push(() => other.destroy());
    expect(await verdict(await other.connect())).toContain("does not persist");
    expect(await verdict(connect(volatile), { allowVolatile: true })).toBe("fit");
  });

  it("is told of, loudly, when it only takes snapshots or hides what it does", async () => {
    const server = await start(["--appendonly", "no", "--save", "3600", "1"]);
    expect(await verdict(connect(server))).toMatch(/^fit; This Redis only takes snapshots/);
    const rights = ["~latchkey:*", "+@all", "-config"];
    await connect(server).call("ACL", "SETUSER", "app", "on", ">pw", ...rights);
    const app = connect(server, { username: "app", password: "pw" });
    expect(await verdict(app)).toMatch(/^fit; .* forbids CONFIG: .* is unverified/);
  });

  it("is refused when it is a replica, and told of when it has become one", async () => {
    const [master, other] = [await start(), await start()];
    const redis = connect(other);
    const store = redisStore(redis);
    await store.check();
    await redis.replicaof("127.0.0.1", master.port);
    const warned = once(process, "warning") as Promise<[Error]>;
    redis.disconnect(true);
    expect((await warned)[0].message).toContain(
      "The servers have changed. This Redis is a replica",
    );
    await expect(store.check()).rejects.toThrow("This Redis is a replica");
    await store.close();
  });
});
