/**
 * Watches the handlers themselves, from the innermost place among Nest's interceptors. An operator
 * such as `timeout()` lets go of a handler that is still at work: the answer that follows must not
 * free its key (B-79).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { StreamableFile, UseInterceptors } from "@nestjs/common";
import type { NestInterceptor } from "@nestjs/common";
import { MetadataScanner } from "@nestjs/core";
import type { ModulesContainer } from "@nestjs/core";
import { Observable } from "rxjs";
import type { Execution } from "../../http/execution.ts";
import { guardResponse } from "../node/guard.ts";
import type { Guard } from "../node/guard.ts";
import { isEventHandler } from "./route.ts";
import { shieldSocket } from "./socket.ts";

interface Handling {
  readonly begin: () => void;
  /** Nobody waits for what the handler returns, but it goes on. */
  readonly abandon: () => void;
  readonly end: (isFailed: boolean) => void;
}

interface WithRaw {
  readonly raw: IncomingMessage;
}

const handlings = new WeakMap<IncomingMessage, Handling>();

/** Taps the response of a request, and holds its claim until its handler is done. */
export function guardHandler(
  req: IncomingMessage,
  res: ServerResponse,
  execution: Execution,
): Guard {
  const { statusCode: status } = res;
  let running = 0;
  let isAbandoned = false;
  handlings.set(req, {
    begin: () => (running += 1),
    abandon: () => (isAbandoned = true),
    end: (isFailed) => {
      running -= 1;
      // What interceptors would have made of the value is unknown: it is done, but not kept.
      if (!isAbandoned || running > 0) return;
      if (isFailed) void execution.release();
      else void execution.settle({ status, headers: [], body: undefined });
    },
  });
  const guard = guardResponse(res, execution, { isAtWork: () => running > 0 });
  shieldSocket(req, res);
  return guard;
}

const watcher: NestInterceptor = {
  intercept: (context, next) => {
    const request = context.switchToHttp().getRequest<Partial<WithRaw> | undefined>();
    const handling = handlings.get(request?.raw ?? (request as IncomingMessage));
    if (handling === undefined || isEventHandler(context)) return next.handle();
    return watch(next.handle(), handling);
  },
};

/** Passes everything on; lets go only of a handler that has given a value. */
function watch(source: Observable<unknown>, handling: Handling): Observable<unknown> {
  return new Observable((subscriber) => {
    let isOver = false;
    let hasGiven = false;
    const end = (isFailed: boolean): void => {
      if (!isOver) handling.end(isFailed);
      isOver = true;
    };
    handling.begin();
    const handler = source.subscribe({
      next: (value) => {
        hasGiven = true;
        if (subscriber.closed) discard(value);
        subscriber.next(value);
      },
      error: (error) => {
        end(true);
        subscriber.error(error);
      },
      complete: () => {
        end(false);
        subscriber.complete();
      },
    });
    return () => {
      if (!hasGiven && !isOver) return handling.abandon();
      handler.unsubscribe();
      end(false);
    };
  });
}

// An open file would stay open.
function discard(value: unknown): void {
  const stream = value instanceof StreamableFile ? value.getStream() : value;
  (stream as { destroy?: () => unknown } | null | undefined)?.destroy?.();
}

const watched = new WeakSet<object>();

/** Puts the watcher behind the interceptors of every handler; called before routes are made. */
export function watchHandlers(modules: ModulesContainer): void {
  const scanner = new MetadataScanner();
  const controllers = [...modules.values()].flatMap((one) => Array.from(one.controllers.values()));
  for (const { metatype } of controllers) {
    const prototype = (metatype as { readonly prototype: object } | null)?.prototype ?? null;
    for (const name of scanner.getAllMethodNames(prototype)) {
      const value = Reflect.get(prototype ?? {}, name) as object;
      if (watched.has(value)) continue;
      watched.add(value);
      UseInterceptors(watcher)(prototype ?? {}, name, { value });
    }
  }
}
