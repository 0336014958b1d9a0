import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { until } from "./poll.ts";
import { type RedisProcess, startRedis } from "./redis-server.ts";
import { startProxy, type TcpProxy } from "./tcp-proxy.ts";

const opened: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

async function redis(args: readonly string[] = []): Promise<RedisProcess> {
  const server = await startRedis({ args });
  opened.push({ close: () => server.stop() });
  return server;
}

async function proxyTo(port: number): Promise<TcpProxy> {
  const proxy = await startProxy(port);
  opened.push(proxy);
  return proxy;
}

async function ask(port: number, command: string, timeoutMs = 2_000): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error("silence")));
  try {
    socket.write(`${command}\r\n`);
    const closed = once(socket, "close").then(() => Promise.reject(new Error("closed")));
    const [bytes] = (await Promise.race([once(socket, "data"), closed])) as [Buffer];
    return bytes.toString().trim();
  } finally {
    socket.destroy();
  }
}

test("a redis-server with an append-only file survives kill and restart on its port", async () => {
  const server = await redis(["--appendonly", "yes", "--appendfsync", "always"]);
  expect(await ask(server.port, "SET a 1")).toBe("+OK");
  const before = server.pid;
  await server.kill();
  await expect(ask(server.port, "GET a")).rejects.toThrow();
  await server.restart();
  expect(server.pid).not.toBe(before);
  expect(await ask(server.port, "GET a")).toContain("1");
});

test("a paused redis-server is silent and answers again once resumed", async () => {
  const server = await redis();
  server.pause();
  await expect(ask(server.port, "PING", 200)).rejects.toThrow("silence");
  server.resume();
  await until(async () => (await ask(server.port, "PING")) === "+PONG");
});

test("the proxy's faults: a cut reply was executed, a lost request was not", async () => {
  const server = await redis();
  const proxy = await proxyTo(server.port);
  expect(await ask(proxy.port, "PING")).toBe("+PONG");
  proxy.cutReplies();
  await expect(ask(proxy.port, "INCR cut")).rejects.toThrow();
  expect(await ask(server.port, "INCR cut")).toBe(":2");
  proxy.blackhole();
  await expect(ask(proxy.port, "INCR hole", 200)).rejects.toThrow("silence");
  proxy.reset();
  await expect(ask(proxy.port, "INCR reset")).rejects.toThrow();
  proxy.heal();
  expect(await ask(proxy.port, "INCR hole")).toBe(":1");
  expect(await ask(proxy.port, "INCR reset")).toBe(":1");
  await until(() => proxy.connections === 0);
});

test("until gives up at its deadline and carries the probe's last error", async () => {
  const failing = until(() => Promise.reject(new Error("not yet")), { withinMs: 20 });
  await expect(failing).rejects.toThrow("did not hold within 20 ms");
});
