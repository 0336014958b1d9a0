/**
 * The test route on Nest, on both of its platforms: a controller that returns values. Decorators
 * are called as the functions they are, so that Node reads this file without a compiler.
 */
import "reflect-metadata";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { All, Controller, HttpException, Req, Res, StreamableFile } from "@nestjs/common";
import type { Type } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import type { NestExpressApplication } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { of } from "rxjs";
import { LatchkeyModule } from "../../../src/adapters/nest.ts";
import type { NestRequest } from "../../../src/adapters/nest.ts";
import type { HttpSubject, Play, TestRoute } from "../../../src/conformance/suites.ts";
import { adapterSubject } from "./adapter-subject.ts";
import type { Mount } from "./adapter-subject.ts";
import { addOuter, parts } from "./fastify-subject.ts";
import { lineOf, passesOuter } from "./node-subjects.ts";

type Request = NestRequest & IncomingMessage & { readonly raw?: IncomingMessage; body?: Buffer };
/** What Express's response and Fastify's reply have in common, and what tells them apart. */
interface Response {
  readonly raw?: ServerResponse;
  readonly status: (status: number) => unknown;
  readonly header: (name: string, value: string | readonly string[]) => unknown;
  readonly redirect: (url: string) => unknown;
  readonly trailer?: (name: string, value: () => Promise<string>) => unknown;
}

const ways: Readonly<Record<string, (play: Play, res: Response) => unknown>> = {
  json: () => ({ in: "its way" }),
  text: () => "in its way",
  observable: () => of({ in: "its way" }),
  file: ({ body }) => new StreamableFile(body),
  stream: ({ body }) => new StreamableFile(Readable.from([body, Buffer.from("more")])),
  "throw 402": () => {
    throw new HttpException("no money", 402);
  },
  "throw 500": () => {
    throw new Error("as told");
  },
};

async function answer(route: TestRoute, req: Request, res: Response): Promise<unknown> {
  const raw = req.raw ?? req;
  const asked = route.inquire(raw.url ?? "/");
  if (asked !== undefined) return JSON.parse(asked) as unknown;
  const play = await route.perform({
    instruction: lineOf(raw, "x-verify"),
    body: async () => (req.raw === undefined ? buffer(raw) : (req.body ?? Buffer.alloc(0))),
    idempotency: req.idempotency ?? undefined,
  });
  res.status(play.status);
  const way = play.via === undefined ? undefined : ways[play.via];
  if (way !== undefined) return way(play, res);
  if (play.hints !== undefined) rawOf(res).writeEarlyHints({ link: play.hints });
  for (const name of new Set(play.headers.map(([one]) => one))) {
    const values = play.headers.filter(([one]) => one === name).map(([, value]) => value);
    res.header(name, values.length === 1 ? String(values[0]) : values);
  }
  if (play.rest === undefined) {
    return new StreamableFile(play.body, { length: play.body.length });
  }
  for (const [name, value] of play.trailers) addTrailer(res, name, value);
  // Nest would end an answer whose stream fails as if it were whole.
  const file = new StreamableFile(Readable.from(parts(play)));
  return file.setErrorHandler(() => void rawOf(res).destroy());
}

function rawOf(res: Response): ServerResponse {
  return res.raw ?? (res as unknown as ServerResponse);
}

function addTrailer(res: Response, name: string, value: string): void {
  if (res.trailer !== undefined) return void res.trailer(name, async () => value);
  rawOf(res).setHeader("trailer", name);
  rawOf(res).addTrailers({ [name]: value });
}

/** A controller of both routes. */
function controllerOf(route: TestRoute): Type {
  class Controlled {
    own(req: Request, res: Response): Promise<unknown> {
      return answer(route, req, res);
    }
    below(req: Request, res: Response): Promise<unknown> {
      return answer(route, req, res);
    }
  }
  for (const [name, path] of [
    ["own", "r"],
    ["below", "r/:part"],
  ] as const) {
    const { prototype } = Controlled;
    Req()(prototype, name, 0);
    Res({ passthrough: true })(prototype, name, 1);
    const descriptor = Object.getOwnPropertyDescriptor(prototype, name) ?? {};
    All(path)(prototype, name, descriptor as TypedPropertyDescriptor<unknown>);
  }
  Controller()(Controlled);
  return Controlled;
}

class Root {
  readonly name = "root";
}

const mount =
  (platform: "Express" | "Fastify"): Mount =>
  async (engine, options, route) => {
    const scope = (req: Request): string | undefined => lineOf(req.raw ?? req, "x-user");
    const module = LatchkeyModule.forRoot({ engine, scope, ...options } as never);
    const root = { module: Root, imports: [module], controllers: [controllerOf(route)] };
    const given = { logger: false, abortOnError: false, bodyParser: false } as const;
    const adapter = platform === "Express" ? new ExpressAdapter() : new FastifyAdapter();
    const app = await NestFactory.create<NestExpressApplication>(root, adapter, given);
    if (adapter instanceof FastifyAdapter) {
      const fastify = adapter.getInstance();
      fastify.removeAllContentTypeParsers();
      const parseAs = "buffer";
      fastify.addContentTypeParser("*", { parseAs }, (_request, body, done) => done(null, body));
      addOuter(fastify);
    } else {
      app.use((req: IncomingMessage, res: ServerResponse, next: () => void) => {
        if (passesOuter(req, res)) next();
      });
    }
    await app.init();
    if (adapter instanceof FastifyAdapter) await adapter.getInstance().ready();
    return app.getHttpServer();
  };

const nest = (platform: "Express" | "Fastify"): HttpSubject =>
  adapterSubject({
    name: `Nest 12, ${platform}`,
    mount: mount(platform),
    ways: Object.keys(ways),
  });

export const nestExpressSubject: HttpSubject = nest("Express");
export const nestFastifySubject: HttpSubject = nest("Fastify");
