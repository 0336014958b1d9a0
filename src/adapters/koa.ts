/**
 * The adapter for Koa 2 and 3: a middleware, written against the shape of Koa and not its types.
 * What the handler left in `ctx.body` is recorded before the layers outside change it, so that a
 * replay passes through them as the first response did; what goes past `ctx` is tapped.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import type { ReadableStream as NodeWebStream } from "node:stream/web";
import type { Engine } from "../engine/engine.ts";
import { admit } from "../http/admit.ts";
import type { Exchange } from "../http/admit.ts";
import type { Answer } from "../http/answer.ts";
import type { Execution, Idempotency } from "../http/execution.ts";
import { createKeep } from "../http/keep.ts";
import { saysOutcome } from "../http/headers.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions, HttpPolicy } from "../http/policy.ts";
import { cutOff, recordedStream } from "./fetch/stream.ts";
import { bodyLeftIn, parsedContent } from "./node/body.ts";
import { guardResponse, nodeExchange, setHeaders } from "./node/exchange.ts";
import { headersOf, isEventStream } from "./node/tap.ts";

export type { Idempotency } from "../http/execution.ts";

/** What a handler finds in `ctx.state`: `new Koa<IdempotencyState>()` types it. */
export interface IdempotencyState {
  /** What a handler can ask of its execution; `undefined` when it runs without a key. */
  idempotency?: Idempotency;
}

/** What this adapter needs of a Koa context. */
export interface KoaContext {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly method: string;
  readonly path: string;
  readonly originalUrl: string;
  readonly request: object;
  readonly response: object;
  readonly state: object;
  body: unknown;
  status: number;
  respond?: boolean | undefined;
}

/**
 * Protects what follows it: `router.post("/payments", idempotent(engine, { scope }), pay)`. An
 * error that the handler throws reaches the layers outside and Koa's own error handling; what those
 * answer decides by its status whether it is recorded. The handler finds its `Idempotency` in
 * `ctx.state.idempotency`.
 */
export function idempotent<Ctx extends KoaContext = KoaContext>(
  engine: Engine,
  options: HttpOptions<Ctx>,
): (ctx: Ctx, next: () => Promise<unknown>) => Promise<void> {
  const policy = httpPolicy(options);
  return async (ctx, next) => {
    const admission = await admit(engine, policy, exchangeOf(ctx, options, policy));
    switch (admission.kind) {
      case "gone":
        ctx.respond = false;
        return;
      case "answer":
        return answer(ctx, admission.answer);
      case "bypass":
        setHeaders(ctx.res, admission.headers);
        await next();
        return;
      case "execute":
        (ctx.state as IdempotencyState).idempotency = admission.execution.idempotency;
        await execute(ctx, admission.execution, next);
    }
  };
}

function exchangeOf<Ctx extends KoaContext>(
  ctx: Ctx,
  options: HttpOptions<Ctx>,
  policy: HttpPolicy,
): Exchange {
  const { req, res, method, originalUrl } = ctx;
  const { _matchedRoute: route } = ctx as { _matchedRoute?: string | RegExp };
  const [pathname = ""] = originalUrl.split("?");
  const pattern = route === undefined ? pathname : prefixOf(pathname, ctx.path) + String(route);
  return nodeExchange([req, res, ctx], [options, policy], {
    target: originalUrl,
    operation: `${method} ${pattern}`,
    // A body parser has read the stream to its end; without one the bytes are still there.
    content: req.readableEnded
      ? () => parsedContent(req, bodyLeftIn(ctx.request), policy.fingerprint)
      : undefined,
  });
}

/** What koa-mount took off the path, which the router's pattern does not show (B-59). */
function prefixOf(pathname: string, path: string): string {
  if (pathname.endsWith(path)) return pathname.slice(0, pathname.length - path.length);
  return path === "/" ? pathname : "";
}

/** Answers through the context, so that the layers outside treat it like any response. */
function answer(ctx: KoaContext, { status, headers, body }: Answer): void {
  ctx.status = status;
  ctx.body = [204, 205, 304].includes(status) ? null : Buffer.from(body);
  ctx.res.removeHeader("content-type"); // Koa's guess
  setHeaders(ctx.res, headers);
}

async function execute(
  ctx: KoaContext,
  execution: Execution,
  next: () => Promise<unknown>,
): Promise<void> {
  let isOver = false; // the tap has seen an end of the response
  let isDetached = false; // a timeout has answered instead
  let isDone = false; // the handler has returned
  let isKept = false; // the body in ctx is recorded here, and not by the tap
  const guard = guardResponse(ctx.res, {
    ...execution,
    records: (status) => isDone || execution.records(status),
    detach: () => {
      isDetached = true;
      execution.detach();
    },
    settle: async (captured) => {
      isOver = true;
      return isKept ? undefined : execution.settle(captured);
    },
    release: async () => {
      isOver = true;
      if (!isKept) await execution.release();
    },
  });
  shieldContext(ctx, () => isOver);
  try {
    await guard.run(next);
  } catch (error) {
    // Koa has no answer left to give: without this the claim would stay in progress.
    if (!isOver && (isDetached || ctx.res.headersSent)) {
      isKept = true;
      await execution.release();
    }
    throw error;
  } finally {
    isDone = true;
  }
  if (isOver || ctx.respond === false || ctx.res.headersSent) return;
  const record = recording(ctx, execution);
  isKept = record !== undefined;
  if (record !== undefined) await record();
  else if (isDetached) ctx.res.end();
}

/**
 * How the body in the context is recorded; `undefined` for what the tap sees better: none, event
 * streams, and the Web's kinds, which Koa 2 does not know.
 */
function recording(ctx: KoaContext, execution: Execution): (() => Promise<void>) | undefined {
  const { res, method, status, body } = ctx;
  const isBodiless = method === "HEAD" || [204, 205, 304].includes(status);
  if (isBodiless || isEventStream(res)) return undefined;
  const headers = headersOf(res);
  const settle = (kept: Uint8Array | undefined): Promise<Answer | undefined> =>
    execution.settle({ status, headers, body: kept });
  if (isStream(body)) {
    const onEnd = async (kept: Uint8Array | undefined): Promise<void> => cutOff(await settle(kept));
    return async () => replaceStream(ctx, recordedNodeStream(body, execution, onEnd));
  }
  const whole = wholeBody(body);
  if (whole === undefined) return undefined;
  return async () => {
    const instead = await settle(whole.length > execution.maxRecordedBytes ? undefined : whole);
    if (instead === undefined) return;
    for (const name of ctx.res.getHeaderNames()) if (saysOutcome(name)) ctx.res.removeHeader(name);
    answer(ctx, instead);
  };
}

function isStream(body: unknown): body is Readable {
  return typeof (body as { pipe?: unknown } | null)?.pipe === "function";
}

/** The bytes that Koa will send for a body that is no stream. */
function wholeBody(body: unknown): Buffer | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === "string") return Buffer.from(body);
  if (Buffer.isBuffer(body)) return body;
  if (body instanceof Blob || body instanceof ReadableStream || body instanceof Response) {
    return undefined;
  }
  try {
    return Buffer.from(JSON.stringify(body));
  } catch {
    return undefined; // Koa will fail at it, too, and answer 500
  }
}

function recordedNodeStream(
  source: Readable,
  execution: Execution,
  onEnd: (body: Uint8Array | undefined) => Promise<void>,
): Readable {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Uint8Array | string>;
  const recorded = recordedStream(
    {
      read: async () => {
        const { done, value } = await chunks.next();
        return done === true
          ? { done, value: undefined }
          : { done: false, value: Buffer.from(value) };
      },
      cancel: async () => void source.destroy(),
    },
    {
      keep: createKeep(execution.maxRecordedBytes),
      onEnd,
      onError: () => execution.release(),
    },
  );
  return Readable.fromWeb(recorded as NodeWebStream);
}

// Koa forgets the length of a body that is replaced, and guesses its type.
function replaceStream(ctx: KoaContext, stream: Readable): void {
  const names = ["content-type", "content-length"];
  const headers = names.map((name) => [name, ctx.res.getHeader(name)] as const);
  ctx.body = stream;
  for (const [name, value] of headers) {
    if (value === undefined) ctx.res.removeHeader(name);
    else ctx.res.setHeader(name, value);
  }
}

/**
 * Keeps Koa from cutting the response short when its client goes away (B-76): it would send no
 * body, and destroy the one it has. Tells Koa of an end that the tap still holds back.
 */
function shieldContext({ req, res, response }: KoaContext, isOver: () => boolean): void {
  const koa = Object.getPrototypeOf(response) as object;
  Object.defineProperties(response, {
    writable: { configurable: true, get: () => !isOver() && !res.writableEnded },
    headerSent: { configurable: true, get: () => isOver() || res.headersSent },
    body: {
      configurable: true,
      get: () => Reflect.get(koa, "body", response) as unknown,
      set(body: unknown) {
        if (isStream(body)) shieldStream(body, () => req.socket.destroyed && !isEventStream(res));
        Reflect.set(koa, "body", body, response);
      },
    },
  });
}

function shieldStream(stream: Readable, isClientGone: () => boolean): void {
  const destroy = stream.destroy.bind(stream);
  stream.destroy = (error) => {
    const isWanted = isClientGone() && (error ?? undefined) === undefined && !stream.readableEnded;
    return isWanted ? stream : destroy(error);
  };
}
