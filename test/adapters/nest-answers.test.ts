/** Every way in which a handler of Nest answers: first as without Latchkey, then replayed. */
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import {
  BadRequestException,
  Body,
  Catch,
  Controller,
  Header,
  HttpCode,
  HttpException,
  Injectable,
  NotFoundException,
  ParseIntPipe,
  Post,
  Redirect,
  Render,
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
import { APP_INTERCEPTOR } from "@nestjs/core";
import type { NestExpressApplication } from "@nestjs/platform-express";
import type { NestFastifyApplication } from "@nestjs/platform-fastify";
import { concat, delay, map, of } from "rxjs";
import { describe, expect, it } from "vitest";
import { createNest, listenNest, platforms } from "../support/nest-servers.ts";
import type { Platform } from "../support/nest-servers.ts";
import type { RawAnswer } from "../support/raw-post.ts";
import { rawPost } from "../support/raw-post.ts";

const file = join(tmpdir(), `latchkey-nest-${process.pid}.txt`);
writeFileSync(file, "a file");

/** What the tests need of Express's response and Fastify's reply alike. */
interface Reply {
  readonly status: (code: number) => Reply;
  readonly header: (name: string, value: string) => Reply;
  readonly send: (body?: unknown) => unknown;
  readonly raw?: unknown;
  readonly sendFile: (path: string) => unknown;
}

class Declined extends Error {}

@Catch(Declined)
class DeclinedFilter implements ExceptionFilter {
  catch(error: Declined, host: ArgumentsHost): void {
    host.switchToHttp().getResponse<Reply>().status(402).send({ declined: error.message });
  }
}

@Injectable()
class Wrapping implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(map((data: unknown) => ({ data })));
  }
}

let runs = 0;

@Controller("ways")
class Ways {
  @Post("zero") zero() {
    return counted(0);
  }
  @Post("null") none() {
    return counted(null);
  }
  @Post("undefined") nothing() {
    return counted(undefined);
  }
  @Post("false") no() {
    return counted(false);
  }
  @Post("string") words() {
    return counted("wörter");
  }
  @Post("object") async object() {
    return counted({ a: "ü", nested: [1, null] });
  }
  @Post("echo") echo(@Body() body: unknown) {
    return counted(body);
  }
  @Post("no-content") @HttpCode(204) noContent() {
    return counted(undefined);
  }
  @Post("typed") @HttpCode(202) @Header("Content-Type", "text/csv") typed() {
    return counted("a,b");
  }
  @Post("attached") @Header("Content-Disposition", "attachment") @HttpCode(204) attached() {
    return counted(undefined);
  }
  @Post("headed") @Header("Cache-Control", "no-store") @Header("Link", "<a>; rel=b") headed() {
    return counted("headed");
  }
  @Post("redirect") @Redirect("/elsewhere", 303) redirect() {
    return counted(undefined);
  }
  @Post("redirect-to") @Redirect("/elsewhere") redirectTo() {
    return counted({ url: "/charges/1", statusCode: 307 });
  }
  @Post("bytes") bytes() {
    return counted(new StreamableFile(Buffer.from([0, 255, 10, 13])));
  }
  @Post("file") file() {
    const options = { type: "text/plain", disposition: 'attachment; filename="a.txt"', length: 6 };
    return counted(new StreamableFile(createReadStream(file), options));
  }
  @Post("stream") stream() {
    return counted(
      new StreamableFile(Readable.from(["one ", "two"].map((one) => Buffer.from(one)))),
    );
  }
  @Post("missing-file") missingFile() {
    return counted(new StreamableFile(createReadStream(`${file}.missing`)));
  }
  @Post("observable") observable() {
    return counted(concat(of("first"), of({ last: true }).pipe(delay(5))));
  }
  @Post("res") res(@Res() res: Reply) {
    counted(res.status(418).header("ETag", '"1"').send({ by: "res" }));
  }
  @Post("late-res") lateRes(@Res() res: Reply) {
    setTimeout(() => counted(res.status(200).send("late")), 5);
  }
  @Post("passthrough") passthrough(@Res({ passthrough: true }) res: Reply) {
    res.status(203).header("Location", "/charges/1");
    return counted({ passed: true });
  }
  @Post("send-file") sendFile(@Res() res: Reply) {
    counted(res.raw === undefined ? res.sendFile(file) : res.send(createReadStream(file)));
  }
  @Post("not-found") notFound() {
    counted(0);
    throw new NotFoundException("no such order");
  }
  @Post("conflict") async conflict() {
    counted(0);
    throw new HttpException({ own: "document" }, 409);
  }
  @Post("filtered") @UseFilters(DeclinedFilter) filtered() {
    counted(0);
    throw new Declined("no money");
  }
  @Post("piped") piped(@Body("n", ParseIntPipe) n: number) {
    return counted({ n });
  }
  @Post("refused") refused(@Body("missing", ParseIntPipe) n: number) {
    return { n };
  }
  @Post("wrapped") @UseInterceptors(Wrapping) wrapped() {
    return counted("inside");
  }
  @Post("rejected") rejected() {
    counted(0);
    return of(1).pipe(
      map(() => {
        throw new BadRequestException("in a stream");
      }),
    );
  }
}

function counted<T>(value: T): T {
  runs += 1;
  return value;
}

const outside = { provide: APP_INTERCEPTOR, useClass: Wrapping };

const key = "Idempotency-Key: k";

async function serveWays(
  platform: Platform,
  { isPlain, isWrapped }: { readonly isPlain: boolean; readonly isWrapped: boolean },
) {
  const app = await createNest(platform, {
    controllers: [Ways],
    isPlain,
    metadata: { providers: isWrapped ? [outside] : [] },
  });
  await app.listen(0, "127.0.0.1");
  const { port } = (app.getHttpServer() as Server).address() as AddressInfo;
  return { port, close: () => app.close() };
}

const ways = Object.getOwnPropertyNames(Ways.prototype)
  .filter((name) => name !== "constructor")
  .map(
    (name) => Reflect.getMetadata("path", Reflect.get(Ways.prototype, name) as object) as string,
  );

describe.each(platforms.flatMap((one) => [[one, false] as const, [one, true] as const]))(
  "on Nest on %s (a wrapping interceptor outside: %s)",
  (platform, isWrapped) => {
    it.each(ways)("%s: first byte for byte as without, then replayed (B-19, B-78)", async (way) => {
      const apps = await Promise.all([
        serveWays(platform, { isPlain: true, isWrapped }),
        serveWays(platform, { isPlain: false, isWrapped }),
      ]);
      const posts = apps.map(
        ({ port }) =>
          () =>
            rawPost(port, `/ways/${way}`, [key]),
      );
      const [post, postGuarded] = posts as [(typeof posts)[0], (typeof posts)[0]];
      runs = 0;
      const expected = await post();
      const plainRuns = runs;
      expect(await postGuarded()).toEqual(expected);
      const retry = await postGuarded();
      const isRecorded = expected.status < 500;
      expect(retry.head.includes("idempotency-replayed: true")).toBe(isRecorded);
      expect(contentOf(retry)).toEqual(contentOf(expected));
      expect(runs).toBe((isRecorded ? 2 : 3) * plainRuns);
      await Promise.all(apps.map((app) => app.close()));
    });
  },
);

@Controller()
class Pages {
  @Post("page") @Render("page") page() {
    runs += 1;
    return { text: `run ${runs}` };
  }
}

describe("a rendered view on Nest on Express", () => {
  it("is replayed without being rendered again (B-26)", async () => {
    const folder = mkdtempSync(join(tmpdir(), "latchkey-views-"));
    writeFileSync(join(folder, "page.text"), "");
    let rendered = 0;
    type Rendered = (error: null, html: string) => void;
    const render = (_file: string, { text }: { text: string }, done: Rendered) => {
      rendered += 1;
      done(null, `<p>${text}</p>`);
    };
    runs = 0;
    const post = await listenNest("Express", {
      controllers: [Pages],
      configure: (app) => {
        const express = app as NestExpressApplication;
        express.engine("text", render);
        express.setBaseViewsDir(folder);
        express.setViewEngine("text");
      },
    });
    for (const _ of [1, 2]) {
      const page = await post("/page");
      expect([page.status, await page.text()]).toEqual([201, "<p>run 1</p>"]);
    }
    expect(rendered).toBe(1);
    rmSync(folder, { recursive: true });
  });
});

describe("an injected request on Nest on Fastify", () => {
  it("is answered and replayed without a socket (B-26)", async () => {
    const app = await createNest("Fastify", { controllers: [Ways] });
    await app.init();
    const fastify = (app as NestFastifyApplication).getHttpAdapter().getInstance();
    for (const replayed of [undefined, "true"]) {
      const headers = { "idempotency-key": "k" };
      const answer = await fastify.inject({ method: "POST", url: "/ways/string", headers });
      expect([answer.statusCode, answer.body]).toEqual([201, "wörter"]);
      expect(answer.headers["idempotency-replayed"]).toBe(replayed);
    }
    await app.close();
  });
});

/** What a replay must repeat: the status, the headers that describe the body, and the body. */
function contentOf({ status, head, body }: RawAnswer) {
  const described = head
    .map((line) => line.toLowerCase())
    .filter((line) => /^(content-(?!length)|location|etag|last-modified|link)/.test(line));
  return { status, described: described.toSorted(), body };
}
