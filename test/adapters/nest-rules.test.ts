/** What Nest does around a handler: errors and their filters, interceptors, timeouts. */
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import {
  Catch,
  Controller,
  HttpException,
  Injectable,
  Post,
  Res,
  StreamableFile,
  UseFilters,
  UseInterceptors,
} from "@nestjs/common";
import type {
  ArgumentsHost,
  CallHandler,
  ExceptionFilter,
  ExecutionContext,
  NestInterceptor,
} from "@nestjs/common";
import { APP_FILTER, APP_INTERCEPTOR } from "@nestjs/core";
import { Observable, defer, of, take, timeout } from "rxjs";
import { afterEach, describe, expect, it } from "vitest";
import { IdempotencyOf } from "../../src/adapters/nest.ts";
import type { Idempotency } from "../../src/adapters/nest.ts";
import { listenNest, platforms } from "../support/nest-servers.ts";
import type { NestSetup, Platform } from "../support/nest-servers.ts";
import { until } from "../support/poll.ts";

type Raw<T> = T & { readonly raw?: T };
let gate = Promise.withResolvers<void>();
let runs = 0;
let seen: unknown[] = [];
afterEach(() => {
  gate = Promise.withResolvers();
  runs = 0;
  seen = [];
});

const codeOf = async (response: Response) => ((await response.json()) as { code: string }).code;
const shown = async (response: Response) => [response.status, await response.text()];

/** The first answer that is not a conflict. */
function settled(post: () => Promise<Response>): Promise<Response> {
  return until(async () => {
    const response = await post();
    return response.headers.get("retry-after") === null ? response : undefined;
  });
}

class Broken extends Error {}

@Catch(Broken)
class BrokenFilter implements ExceptionFilter {
  catch(error: Broken, host: ArgumentsHost): void {
    const res = host.switchToHttp().getResponse<{ status: (code: number) => { send: Send } }>();
    res.status(Number(error.message)).send("filtered");
  }
}
type Send = (body: string) => unknown;

@Controller()
class Failing {
  @Post("thrown") thrown() {
    runs += 1;
    const status = [401, 403, 429, 500, 503, 402, 402][runs - 1] ?? 200;
    throw new HttpException(`run ${runs}`, status);
  }
  @Post("unknown") unknown() {
    runs += 1;
    if (runs === 1) throw new Error("no card network");
    return `run ${runs}`;
  }
  @Post("filtered") @UseFilters(BrokenFilter) filtered() {
    runs += 1;
    throw new Broken(runs === 1 ? "503" : "422");
  }
  @Post("committed") async committed(@IdempotencyOf() idempotency: Idempotency) {
    runs += 1;
    await idempotency.commit();
    throw new Error("after the point of no return");
  }
  @Post("skipped") skipped(@IdempotencyOf() idempotency: Idempotency) {
    idempotency.skip();
    return `run ${(runs += 1)}`;
  }
}

describe.each(platforms)("errors on Nest on %s", (platform) => {
  it("decide by the status that filters answer (B-68, B-69, B-71, B-72)", async () => {
    const post = await listenNest(platform, { controllers: [Failing] });
    const statuses: number[] = [];
    for (let index = 0; index < 7; index += 1) statuses.push((await post("/thrown")).status);
    expect(statuses).toEqual([401, 403, 429, 500, 503, 402, 402]);
    expect(runs).toBe(6);
    runs = 0;
    expect((await post("/unknown")).status).toBe(500);
    expect(await shown(await post("/unknown"))).toEqual([201, "run 2"]);
    expect(await shown(await post("/unknown"))).toEqual([201, "run 2"]);
    runs = 0;
    const filtered = [await post("/filtered"), await post("/filtered"), await post("/filtered")];
    expect(filtered.map(({ status }) => status)).toEqual([503, 422, 422]);
    expect(runs).toBe(2);
  });

  it("lead to in doubt behind commit(), and a handler overrules all (B-74, B-75)", async () => {
    const post = await listenNest(platform, { controllers: [Failing] });
    expect((await post("/committed")).status).toBe(500);
    expect(await codeOf(await post("/committed"))).toBe("outcome-unknown");
    expect(runs).toBe(1);
    expect(await (await post("/skipped")).text()).toBe("run 2");
    expect(await (await post("/skipped")).text()).toBe("run 3");
  });
});

@Injectable()
class Hurrying implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(timeout(20));
  }
}

@Catch()
class CatchAll implements ExceptionFilter {
  catch(error: Error, host: ArgumentsHost): void {
    answerError(error, host);
  }
}

function answerError({ name }: Error, host: ArgumentsHost): void {
  const res = host.switchToHttp().getResponse<{ status: (code: number) => { send: Send } }>();
  res.status(name === "TimeoutError" ? 504 : 500).send(name);
}

@Injectable()
class FallingBack implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(timeout({ first: 20, with: () => of("ask later") }));
  }
}

@Controller()
class Slow {
  @Post("slow") async slow() {
    runs += 1;
    await gate.promise;
    return "charged";
  }
  @Post("failing") async failing() {
    runs += 1;
    await gate.promise;
    if (runs === 1) throw new Error("declined");
    return "charged";
  }
  @Post("by-itself") async byItself(@Res() res: Raw<ServerResponse>) {
    runs += 1;
    await gate.promise;
    (res.raw ?? res).writeHead(202).end("charged");
  }
  @Post("streamed") async streamed() {
    runs += 1;
    await gate.promise;
    const stream = Readable.from([Buffer.from("x")]);
    seen.push(stream);
    return new StreamableFile(stream);
  }
  @Post("falling-back") @UseInterceptors(FallingBack) async fallingBack() {
    return this.slow();
  }
  @Post("hurried") @UseInterceptors(Hurrying) async hurried() {
    return this.slow();
  }
}

const outside: NestSetup = {
  controllers: [Slow],
  metadata: {
    providers: [
      { provide: APP_INTERCEPTOR, useClass: Hurrying },
      { provide: APP_FILTER, useClass: CatchAll },
    ],
  },
};
const inside: NestSetup = {
  controllers: [Slow],
  metadata: { providers: [{ provide: APP_FILTER, useClass: CatchAll }] },
  configure: (app) => app.useGlobalInterceptors(new Hurrying()),
};
const hurries = platforms.flatMap((platform): [Platform, string, NestSetup][] => [
  [platform, "outside", outside],
  [platform, "inside", inside],
]);

describe.each(hurries)("a timeout() on Nest on %s, %s", (platform, _where, setup) => {
  it("does not free the key while the handler is at work (B-79)", async () => {
    const post = await listenNest(platform, setup);
    expect(await shown(await post("/slow"))).toEqual([504, "TimeoutError"]);
    expect(await codeOf(await post("/slow"))).toBe("in-progress");
    gate.resolve();
    // What the interceptors would have made of the value is not known.
    const retry = await settled(() => post("/slow"));
    expect(await retry.json()).toMatchObject({ code: "result-omitted", originalStatus: 201 });
    expect(runs).toBe(1);
  });

  it("frees the key when the handler fails after it (B-68)", async () => {
    const post = await listenNest(platform, setup);
    expect((await post("/failing")).status).toBe(504);
    expect(await codeOf(await post("/failing"))).toBe("in-progress");
    gate.resolve();
    expect(await shown(await settled(() => post("/failing")))).toEqual([201, "charged"]);
    expect(runs).toBe(2);
  });

  it("leaves what the handler sends by itself to be recorded (B-79)", async () => {
    const post = await listenNest(platform, setup);
    expect((await post("/by-itself")).status).toBe(504);
    expect(await codeOf(await post("/by-itself"))).toBe("in-progress");
    gate.resolve();
    expect(await shown(await settled(() => post("/by-itself")))).toEqual([202, "charged"]);
    expect(runs).toBe(1);
  });

  it("closes the stream that nobody reads", async () => {
    const post = await listenNest(platform, setup);
    expect((await post("/streamed")).status).toBe(504);
    gate.resolve();
    expect(await codeOf(await settled(() => post("/streamed")))).toBe("result-omitted");
    expect((seen.find((one) => one instanceof Readable) as Readable).destroyed).toBe(true);
  });
});

describe.each(platforms)("a timeout on Nest on %s", (platform) => {
  it("of one handler does not free its key, either (B-79)", async () => {
    const post = await listenNest(platform, { ...inside, configure: () => undefined });
    expect((await post("/hurried")).status).toBe(504);
    expect(await codeOf(await post("/hurried"))).toBe("in-progress");
    gate.resolve();
    expect(await codeOf(await settled(() => post("/hurried")))).toBe("result-omitted");
    expect(runs).toBe(1);
  });

  it("with a fallback makes that the outcome", async () => {
    const post = await listenNest(platform, { controllers: [Slow] });
    for (const _ of [1, 2]) {
      expect(await shown(await post("/falling-back"))).toEqual([201, "ask later"]);
      gate.resolve();
    }
    expect(runs).toBe(1);
  });

  it("that is answered late does not free what the handler has done", async () => {
    const answering = Promise.withResolvers<void>();
    @Catch()
    class Hesitating implements ExceptionFilter {
      async catch(error: Error, host: ArgumentsHost): Promise<void> {
        seen.push("caught");
        await answering.promise;
        answerError(error, host);
      }
    }
    const providers = [{ provide: APP_FILTER, useClass: Hesitating }];
    const post = await listenNest(platform, { controllers: [Slow], metadata: { providers } });
    const first = post("/hurried");
    await until(() => seen.includes("caught"));
    gate.resolve();
    expect(await codeOf(await settled(() => post("/hurried")))).toBe("result-omitted");
    answering.resolve();
    expect((await first).status).toBe(504);
    expect(await codeOf(await post("/hurried"))).toBe("result-omitted");
    expect(runs).toBe(1);
  });

  it("of a middleware lets the real response be recorded (B-79)", async () => {
    const post = await listenNest(platform, {
      controllers: [Slow],
      configure: (app) =>
        app.use((_req: unknown, res: ServerResponse, next: () => void) => {
          setTimeout(() => {
            if (!res.headersSent) res.writeHead(504).end("too slow");
          }, 20);
          next();
        }),
    });
    expect(await shown(await post("/slow"))).toEqual([504, "too slow"]);
    expect(await codeOf(await post("/slow"))).toBe("in-progress");
    gate.resolve();
    expect(await shown(await settled(() => post("/slow")))).toEqual([201, "charged"]);
    expect(runs).toBe(1);
  });
});

@Injectable()
class Short implements NestInterceptor {
  intercept() {
    return defer(() => {
      runs += 1;
      if (runs === 1) throw new HttpException("busy", 503);
      return of(`short ${runs}`);
    });
  }
}

@Controller()
class Intercepted {
  @Post("short") @UseInterceptors(Short) short() {
    return "never";
  }
  @Post("endless")
  @UseInterceptors(
    class implements NestInterceptor {
      intercept(_context: ExecutionContext, next: CallHandler) {
        return next.handle().pipe(take(1));
      }
    },
  )
  endless() {
    runs += 1;
    return new Observable((subscriber) => {
      subscriber.next("first");
      return () => seen.push("let go");
    });
  }
}

describe.each(platforms)("interceptors on Nest on %s", (platform) => {
  it("may answer instead of the handler, which frees or fills the key (B-69)", async () => {
    const post = await listenNest(platform, { controllers: [Intercepted] });
    expect((await post("/short")).status).toBe(503);
    for (const _ of [1, 2]) expect(await shown(await post("/short"))).toEqual([201, "short 2"]);
  });

  it("may take one value of many: the handler is let go of", async () => {
    const post = await listenNest(platform, { controllers: [Intercepted] });
    for (const _ of [1, 2]) expect(await shown(await post("/endless"))).toEqual([201, "first"]);
    expect([runs, seen]).toEqual([1, ["let go"]]);
  });
});
