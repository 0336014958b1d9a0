/**
 * The demo payments API on plain node:http: one slow payment, protected and unprotected, its
 * books, and the test routes.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { json } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { idempotent } from "../../adapters/node.ts";
import type { Listener } from "../../adapters/node.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Ledger } from "./ledger.ts";
import { testRoutes } from "./test-routes.ts";

const page = readFileSync(new URL("./page.html", import.meta.url));
const pageHeaders = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
};

export interface DemoOptions {
  readonly engine: Engine;
  readonly ledger: Ledger;
  /** How slow the card network is, in ms. */
  readonly delayMs: number;
}

/** The server, not yet listening. */
export function createDemoServer({ engine, ledger, delayMs }: DemoOptions): Server {
  const pay = payment(ledger, delayMs);
  const options = { scope: customer, operation: "POST /process-payment" };
  const routes: Readonly<Record<string, Listener>> = {
    "POST /process-payment": idempotent(engine, options, (req, res, idempotency) =>
      pay(req, res, idempotency?.key ?? null),
    ),
    "POST /unprotected/process-payment": (req, res) => pay(req, res, undefined),
    "GET /charges": async (_, res) => send(res, 200, { charges: await ledger.charges() }),
    "GET /": (_, res) => void res.writeHead(200, pageHeaders).end(page),
    "GET /healthz": (_, res) => send(res, 200, { status: "ok" }),
  };
  const testRouteOn = testRoutes(engine, customer);
  return createServer((req, res) => {
    const [path = "/"] = (req.url ?? "/").split("?", 1);
    const route = routes[`${req.method} ${path}`] ?? testRouteOn(path);
    if (route === undefined) return refuse(res, allowedOn(routes, path));
    return void Promise.resolve(route(req, res)).catch((error: unknown) => fail(res, error, req));
  });
}

function allowedOn(routes: object, path: string | undefined): readonly string[] {
  const known = Object.keys(routes).map((route) => route.split(" "));
  return known.flatMap(([method = "", on]) => (on === path ? [method] : []));
}

function refuse(res: ServerResponse, allowed: readonly string[]): void {
  if (allowed.length === 0) return send(res, 404, { error: "There is no such route." });
  res.setHeader("allow", allowed.join(", "));
  return send(res, 405, { error: `This route takes ${allowed.join(", ")} only.` });
}

function payment(ledger: Ledger, delayMs: number) {
  return async (
    req: IncomingMessage,
    res: ServerResponse,
    key: string | null | undefined,
  ): Promise<void> => {
    const body = await bodyOf(req);
    if (body === "invalid") return send(res, 400, { error: "The body is not JSON." });
    await sleep(delayMs);
    const receipt = randomUUID();
    const at = new Date().toISOString();
    await ledger.book({ receipt, key: key ?? null, at, protected: key !== undefined });
    return send(res, 200, { status: "authorized", receipt, ...body });
  };
}

async function bodyOf(req: IncomingMessage): Promise<{ readonly amount?: unknown } | "invalid"> {
  const length = req.headers["content-length"];
  const empty = req.headers["transfer-encoding"] === undefined && (length ?? "0") === "0";
  if (empty || !/json/i.test(req.headers["content-type"] ?? "")) return {};
  try {
    const value: unknown = await json(req);
    const named = typeof value === "object" && value !== null && "amount" in value;
    return named ? { amount: value.amount } : {};
  } catch {
    return "invalid";
  }
}

function customer(req: IncomingMessage): string {
  const sent = req.headers["x-customer"];
  return typeof sent === "string" && sent !== "" ? sent : "demo-customer";
}

function send(res: ServerResponse, status: number, value: unknown): void {
  res.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(value)}\n`);
}

function fail(res: ServerResponse, error: unknown, { method, url }: IncomingMessage): void {
  const words = error instanceof Error ? error.message : "failed";
  process.stderr.write(`latchkey demo: ${method} ${url}: ${words}\n`);
  if (res.headersSent) res.destroy();
  else send(res, 500, { error: "The payment could not be processed." });
}
