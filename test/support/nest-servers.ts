/** Nest on Express and on Fastify: applications of given controllers, on real servers. */
import "reflect-metadata";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { All, Controller, Req, Res } from "@nestjs/common";
import type {
  DynamicModule,
  INestApplication,
  ModuleMetadata,
  NestApplicationOptions,
  Type,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import { FastifyAdapter } from "@nestjs/platform-fastify";
import { afterEach } from "vitest";
import { IdempotencyOf, LatchkeyModule } from "../../src/adapters/nest.ts";
import type { Idempotency, NestOptions, NestRequest } from "../../src/adapters/nest.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { EngineOptions } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { optionsBy } from "./options-by.ts";
import type { PlaceListener, Protection } from "./places.ts";

export type Platform = "Express" | "Fastify";
export const platforms: readonly Platform[] = ["Express", "Fastify"];

type WithRaw<T> = T & { readonly raw?: T };
const closers: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

type Init = Omit<RequestInit, "headers"> & {
  readonly headers?: Readonly<Record<string, string | undefined>>;
};

export interface NestSetup {
  readonly controllers: Type[];
  readonly options?: Partial<NestOptions>;
  /** Further modules, filters, guards and interceptors. */
  readonly metadata?: ModuleMetadata;
  /** Without the module: what the same application answers by itself. */
  readonly isPlain?: boolean;
  readonly configure?: (app: INestApplication) => unknown;
  readonly engine?: Partial<EngineOptions>;
  readonly app?: NestApplicationOptions;
  /** Options of Fastify itself. */
  readonly fastify?: ConstructorParameters<typeof FastifyAdapter>[0];
}

/** Creates an application that has not begun to listen. */
export async function createNest(
  platform: Platform,
  { controllers, options, metadata = {}, isPlain = false, ...more }: NestSetup,
): Promise<INestApplication> {
  const own = createEngine({ store: memoryStore(), ...more.engine });
  const latchkey = LatchkeyModule.forRoot({ engine: own, scope: "public", ...options });
  const imports = [...(isPlain ? [] : [latchkey]), ...(metadata.imports ?? [])];
  const app = await NestFactory.create(
    { module: Root, ...metadata, imports, controllers },
    platform === "Express" ? new ExpressAdapter() : new FastifyAdapter(more.fastify),
    { logger: false, abortOnError: false, ...more.app },
  );
  more.configure?.(app);
  return app;
}

class Root {
  readonly name = "root";
}

/** Serves an application; every request is a POST that carries the key `k`, unless told. */
export async function listenNest(platform: Platform, setup: NestSetup) {
  const app = await createNest(platform, setup);
  closers.push(async () => {
    (app.getHttpServer() as Server).closeAllConnections();
    await app.close();
  });
  await app.listen(0, "127.0.0.1");
  const { port } = (app.getHttpServer() as Server).address() as AddressInfo;
  return (path: string, init: Init = {}): Promise<Response> => {
    const given = Object.entries({ "idempotency-key": "k", ...init.headers });
    const headers = given.filter((entry): entry is [string, string] => entry[1] !== undefined);
    const request: RequestInit = { method: "POST", redirect: "manual", ...init, headers };
    return fetch(`http://127.0.0.1:${port}${path}`, request);
  };
}

/** A listener on Node's request and response at `/r`, as a handler of Nest. */
export async function mountNest(
  platform: Platform,
  listener: PlaceListener,
  protection?: Protection,
): Promise<Server> {
  @Controller()
  class Listening {
    @All("r")
    async listen(
      @Req() req: WithRaw<IncomingMessage>,
      @Res() res: WithRaw<ServerResponse>,
      @IdempotencyOf() idempotency: Idempotency | undefined,
    ): Promise<void> {
      await listener(req.raw ?? req, res.raw ?? res, idempotency);
    }
  }
  const adapter = platform === "Express" ? new ExpressAdapter() : new FastifyAdapter();
  const imports = protection === undefined ? [] : [moduleFor(protection)];
  const root = { module: Root, imports, controllers: [Listening] };
  const given = { logger: false, abortOnError: false, bodyParser: false } as const;
  const app = await NestFactory.create(root, adapter, given);
  if (adapter instanceof FastifyAdapter) {
    const fastify = adapter.getInstance();
    fastify.removeAllContentTypeParsers();
    fastify.addContentTypeParser("*", (_request, _payload, done) => done(null));
  }
  await app.init();
  if (adapter instanceof FastifyAdapter) await adapter.getInstance().ready();
  return app.getHttpServer() as Server;
}

function moduleFor({ engine, options }: Protection): DynamicModule {
  const given = optionsBy<NestRequest>((request) => {
    const either = request as unknown as WithRaw<IncomingMessage>;
    return either.raw ?? either;
  }, options);
  return LatchkeyModule.forRoot({ ...given, engine });
}
