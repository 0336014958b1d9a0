/**
 * `latchkey demo`: reads the settings, starts the payments API, and ends it without losing a
 * payment.
 */
import { once } from "node:events";
import type { Server } from "node:http";
import { isIPv6 } from "node:net";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { Command } from "commander";
import { durationMs } from "../../duration.ts";
import { createEngine } from "../../engine/engine.ts";
import type { EngineEvent, EngineEventKind } from "../../engine/events.ts";
import { storeFromUrl } from "../../stores/store-from-url.ts";
import { createDemoServer } from "./demo-server.ts";
import { openLedger } from "./ledger.ts";

interface Settings {
  readonly port: string;
  readonly host: string;
  readonly store: string;
  readonly delay: string;
  readonly lease: string;
  readonly retention: string;
}

/** The subcommand; flags win over the environment. */
export function demoCommand(): Command {
  const { env } = process;
  return new Command("demo")
    .description("Start the demo payments API.")
    .option("--port <port>", "port, 0 for any", env["PORT"] ?? "3000")
    .option("--host <host>", "address to listen on", env["HOST"] ?? "127.0.0.1")
    .option("--store <url>", "where records are kept", env["STORE"] ?? "sqlite:./data/latchkey.db")
    .option("--delay <duration>", "how slow the card network is", env["DELAY"] ?? "2s")
    .option("--lease <duration>", "how long a dead owner blocks its key", env["LEASE"] ?? "30s")
    .option("--retention <duration>", "how long a result is kept", env["RETENTION"] ?? "24h")
    .action(runDemo);
}

async function runDemo(settings: Settings): Promise<void> {
  const port = portOf(settings.port);
  const delayMs = durationMs(settings.delay, "DELAY", 0);
  const { lease, retention } = settings;
  const leaseMs = durationMs(lease, "LEASE", 100);
  durationMs(retention, "RETENTION");
  const store = await storeFromUrl(settings.store);
  try {
    await store.check();
    const engine = createEngine({ store, lease: leaseMs, retention, onEvent: report });
    const ledger = await openLedger(settings.store);
    const server = createDemoServer({ engine, ledger, delayMs });
    try {
      await listen(server, port, settings);
      await signalled();
      await finish(server);
    } finally {
      await engine.close();
      await ledger.close();
    }
  } finally {
    await store.close();
  }
}

async function listen(server: Server, port: number, { host, store }: Settings): Promise<void> {
  server.listen(port, host);
  await once(server, "listening").catch((cause: unknown) => {
    const setting = /EADDRINUSE|EACCES/.test(wordsOf(cause)) ? "PORT" : "HOST";
    throw new Error(`The address cannot be used: ${wordsOf(cause)}. Choose another ${setting}.`, {
      cause,
    });
  });
  const name = isIPv6(host) ? `[${host}]` : host;
  announce(`http://${name}:${(server.address() as AddressInfo).port}`, store);
}

// Only the first signal is waited for: a second one ends the process as it always does.
async function signalled(): Promise<void> {
  const heard = new AbortController();
  const signals = ["SIGTERM", "SIGINT"].map((name) => once(process, name, heard));
  await Promise.race(signals);
  heard.abort();
  await Promise.allSettled(signals);
}

// What is running ends in peace; new connections are refused, idle ones closed.
async function finish(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeIdleConnections();
  const patience = setTimeout(() => {
    process.stderr.write("Finishing what is running. Once more (Ctrl-C) ends it at once.\n");
  }, 200);
  await closed;
  clearTimeout(patience);
}

function wordsOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

// What an operator should see; the everyday outcomes stay quiet.
const noteworthy: ReadonlySet<EngineEventKind> = new Set([
  "takeover",
  "lease-lost",
  "complete-failed",
  "in-doubt",
  "store-unavailable",
  "store-corrupt",
  "redact-failed",
  "seal-failed",
]);

function report({ kind, operation, attempt }: EngineEvent): void {
  if (!noteworthy.has(kind)) return;
  const which = attempt === undefined ? "" : ` (attempt ${attempt})`;
  process.stderr.write(`latchkey demo: ${kind}: ${operation}${which}\n`);
}

function announce(address: string, store: string): void {
  const isCheckout = process.argv[1] === resolve("dist/cli/latchkey.js");
  const tool = (name: string): string =>
    isCheckout ? `make ${name} URL=` : `npx latchkey ${name} `;
  process.stdout.write(`latchkey demo listening on ${address}
recording in ${withoutPassword(store)}

  look    ${address}/ in a browser
  pay     curl -i -X POST -H 'Idempotency-Key: demo-1' ${address}/process-payment
  count   curl ${address}/charges
  race    ${tool("race")}${address}/process-payment
  verify  ${tool("verify")}${address}/verify

Ctrl-C ends it, behind what is running.
`);
}

function withoutPassword(store: string): string {
  return store.replace(/(:\/\/[^/@]*?:)[^/@]*@/, "$1***@");
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw new TypeError(`PORT must be a number from 0 to 65535; got ${JSON.stringify(text)}.`);
}
