/** What replays and refusals on Nest leave to the layers outside: loggers, hooks, interceptors. */
import type { ServerResponse } from "node:http";
import { setImmediate, setTimeout as delay } from "node:timers/promises";
import {
  Catch,
  Controller,
  Header,
  HttpCode,
  Injectable,
  Module,
  Post,
  Redirect,
} from "@nestjs/common";
import type { CallHandler, ExecutionContext, NestInterceptor } from "@nestjs/common";
import { APP_FILTER, APP_INTERCEPTOR } from "@nestjs/core";
import type { NestFastifyApplication } from "@nestjs/platform-fastify";
import { finalize, tap } from "rxjs";
import { afterEach, describe, expect, it } from "vitest";
import { listenNest, platforms } from "../support/nest-servers.ts";
import type { NestSetup } from "../support/nest-servers.ts";
import { until } from "../support/poll.ts";

let seen: unknown[] = [];
let runs = 0;
afterEach(() => {
  seen = [];
  runs = 0;
});

@Controller()
class Replayed {
  @Post("watched") watched() {
    return { run: (runs += 1) };
  }
  @Post("refused") @HttpCode(402) refused() {
    return "no money";
  }
  @Post("moved") @Redirect("/by-default") moved() {
    return { url: "/chosen", statusCode: 307 };
  }
  @Post("report") @Header("Content-Disposition", "attachment") report() {
    return "a report";
  }
}

@Injectable()
class Watching implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    const response = context.switchToHttp().getResponse<{ header: (...pair: string[]) => void }>();
    return next.handle().pipe(
      tap((value: unknown) => {
        seen.push(value);
        response.header("x-watched", "yes");
      }),
      finalize(() => seen.push("over")),
    );
  }
}

@Module({ providers: [{ provide: APP_INTERCEPTOR, useClass: Watching }] })
class Watched {}

@Catch()
class Failures {
  catch(error: unknown): void {
    seen.push(error);
  }
}

describe.each(platforms)("a replay on Nest on %s", (platform) => {
  it("looks to interceptors outside like a handler that returned nothing", async () => {
    const providers = [
      { provide: APP_INTERCEPTOR, useClass: Watching },
      { provide: APP_FILTER, useClass: Failures },
    ];
    const post = await listenNest(platform, { controllers: [Replayed], metadata: { providers } });
    for (const _ of ["first", "replay"]) {
      const response = await post("/watched");
      expect([response.status, await response.text()]).toEqual([201, '{"run":1}']);
    }
    await until(() => seen.length === 4);
    expect(seen).toEqual([{ run: 1 }, "over", undefined, "over"]);
  });

  const inner: readonly (readonly [string, Partial<NestSetup>])[] = [
    ["of the application", { configure: (app) => app.useGlobalInterceptors(new Watching()) }],
    ["of a module imported behind", { metadata: { imports: [Watched] } }],
  ];
  it.each(inner)("runs no interceptor %s", async (_, setup) => {
    const post = await listenNest(platform, { controllers: [Replayed], ...setup });
    for (const _ of ["first", "replay"]) {
      const response = await post("/watched");
      expect([response.status, await response.text()]).toEqual([201, '{"run":1}']);
    }
    expect(seen).toEqual([{ run: 1 }, "over"]);
  });

  it("shows its own status to whoever looks when it has been sent", async () => {
    const post = await listenNest(platform, {
      controllers: [Replayed],
      configure: (app) =>
        app.use((_req: unknown, res: ServerResponse, next: () => void) => {
          for (const name of ["finish", "close"]) res.on(name, () => seen.push(res.statusCode));
          next();
        }),
    });
    for (const _ of ["first", "replay"]) expect((await post("/refused")).status).toBe(402);
    await until(() => seen.length === 4);
    expect(seen).toEqual([402, 402, 402, 402]);
  });

  it("has no header that describes another body", async () => {
    const post = await listenNest(platform, { controllers: [Replayed] });
    const disposition = async (body: string) => {
      const response = await post("/report", { body, headers: { "content-type": "text/plain" } });
      return [response.status, response.headers.get("content-disposition")];
    };
    expect(await disposition("a")).toEqual([201, "attachment"]);
    expect(await disposition("a")).toEqual([201, "attachment"]);
    expect(await disposition("b")).toEqual([422, null]);
  });
});

describe("a replay on Nest on Fastify", () => {
  it("passes through hooks that take their time", async () => {
    const post = await listenNest("Fastify", {
      controllers: [Replayed],
      configure: (app) =>
        (app as NestFastifyApplication)
          .getHttpAdapter()
          .getInstance()
          .addHook("onSend", async (_request, reply) => {
            await delay(10);
            reply.header("x-hook", "yes");
          }),
    });
    for (const _ of ["first", "replay"]) {
      const { status, headers } = await post("/moved");
      const shown = [status, headers.get("location"), headers.get("x-hook")];
      expect(shown).toEqual([307, "/chosen", "yes"]);
    }
  });

  it("logs no second answer", async () => {
    const stream = { write: (line: string) => seen.push(line) };
    const fastify = { logger: { level: "warn", stream } };
    const metadata = { providers: [{ provide: APP_INTERCEPTOR, useClass: Watching }] };
    const post = await listenNest("Fastify", { controllers: [Replayed], fastify, metadata });
    for (const _ of ["first", "replay"]) expect((await post("/watched")).status).toBe(201);
    await until(() => seen.filter((one) => one === "over").length === 2);
    await setImmediate(); // Nest goes on to its own answer at once
    expect(seen).toEqual([{ run: 1 }, "over", undefined, "over"]);
  });
});
