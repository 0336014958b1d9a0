/** The module and the decorators of Nest: options, guards, routes, versions, parameters. */
import {
  Body,
  Controller,
  Get,
  Inject,
  Injectable,
  Module,
  Param,
  Post,
  Scope,
  UnauthorizedException,
  Version,
  VersioningType,
} from "@nestjs/common";
import type { CanActivate, ExecutionContext } from "@nestjs/common";
import { APP_GUARD, ExternalContextCreator, REQUEST } from "@nestjs/core";
import { describe, expect, it } from "vitest";
import {
  Idempotent,
  IdempotencyOf,
  LATCHKEY_ENGINE,
  LatchkeyModule,
} from "../../src/adapters/nest.ts";
import type { Idempotency, NestRequest } from "../../src/adapters/nest.ts";
import { createEngine } from "../../src/engine/engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { createNest, listenNest, platforms } from "../support/nest-servers.ts";

const engine = createEngine({ store: memoryStore() });
const json = { "content-type": "application/json" };
const noKey = { headers: { "idempotency-key": undefined } };
const textOf = async (response: Promise<Response>) => (await response).text();
let runs = 0;
const run = () => `run ${(runs += 1)}`;

@Controller("payments")
class Payments {
  @Get() list() {
    return run();
  }
  @Post() pay(@IdempotencyOf() idempotency: Idempotency | undefined) {
    run();
    const { key, scope, attempt, fence } = idempotency ?? {};
    return { key, scope, attempt, fence: typeof fence };
  }
  @Post(":id/capture") capture(@Param("id") id: string, @Body() body: unknown) {
    return { id, body, run: run() };
  }
  @Post("refunds") @Idempotent({ required: true }) refund() {
    return run();
  }
  @Post("webhooks") @Idempotent(false) hook() {
    return run();
  }
}

@Controller("strict")
@Idempotent({ required: true, echoKey: true })
class Strict {
  @Post() pay() {
    return run();
  }
  @Post("lax") @Idempotent({ required: false }) lax() {
    return run();
  }
}

@Controller("free")
@Idempotent(false)
class Free {
  @Post() free() {
    return run();
  }
  @Post("paid") @Idempotent() paid() {
    return run();
  }
}

class Heir extends Strict {}
Controller("heir")(Heir);

const controllers = [Payments, Strict, Free, Heir];

describe.each(platforms)("the module on Nest on %s", (platform) => {
  it("protects POST where there is a key, and nothing else (B-1, B-16, B-21)", async () => {
    const post = await listenNest(platform, { controllers });
    runs = 0;
    for (const _ of ["first", "replay"]) {
      const response = await post("/payments");
      expect(await response.json()).toEqual({
        key: "k",
        scope: "public",
        attempt: 1,
        fence: "number",
      });
    }
    expect(runs).toBe(1);
    for (const _ of [1, 2]) await post("/payments", noKey);
    for (const _ of [1, 2]) await post("/payments", { method: "GET" });
    expect(runs).toBe(5);
  });

  it("obeys decorators: the method's over the controller's over its own (B-2)", async () => {
    const post = await listenNest(platform, { controllers });
    const statusOf = async (path: string) => (await post(path, noKey)).status;
    expect(await statusOf("/payments")).toBe(201);
    expect(await statusOf("/payments/refunds")).toBe(400);
    expect(await statusOf("/strict")).toBe(400);
    expect(await statusOf("/strict/lax")).toBe(201);
    expect(await statusOf("/heir")).toBe(400);
    expect((await post("/strict")).headers.get("idempotency-key")).toBe('"k"');
    expect((await post("/strict/lax")).headers.get("idempotency-key")).toBe('"k"');
    expect((await post("/payments")).headers.get("idempotency-key")).toBeNull();
    runs = 0;
    const answers: string[] = [];
    for (const path of ["/payments/webhooks", "/free", "/free/paid"]) {
      for (const _ of [1, 2]) answers.push(await textOf(post(path)));
    }
    expect(answers).toEqual(["run 1", "run 2", "run 3", "run 4", "run 5", "run 5"]);
  });

  it("asks after the guards, with the user they found as scope (B-39, B-100)", async () => {
    type Authenticated = NestRequest & { user?: string };
    @Injectable()
    class Authenticating implements CanActivate {
      canActivate(context: ExecutionContext): boolean {
        const request = context.switchToHttp().getRequest<Authenticated>();
        const user = request.headers["x-user"];
        if (user === undefined) throw new UnauthorizedException();
        request.user = String(user);
        return true;
      }
    }
    const post = await listenNest(platform, {
      controllers,
      options: { scope: (request: Authenticated) => request.user },
      metadata: { providers: [{ provide: APP_GUARD, useClass: Authenticating }] },
    });
    const as = (user: string) => ({ headers: { "x-user": user } });
    expect(await (await post("/payments", as("a"))).json()).toMatchObject({ scope: "a" });
    expect(await (await post("/payments", as("b"))).json()).toMatchObject({ scope: "b" });
    expect((await post("/payments")).status).toBe(401);
    expect((await post("/payments", as("a"))).headers.get("idempotency-replayed")).toBe("true");
    expect((await post("/payments", as(""))).status).toBe(400);
  });
});

@Controller({ path: "scoped", scope: Scope.REQUEST })
class Scoped {
  @Inject(REQUEST) private readonly request!: NestRequest;
  @Post() scoped() {
    return { key: this.request.idempotency?.key, run: run() };
  }
}

describe.each(platforms)("requests on Nest on %s", (platform) => {
  it("may have a controller of their own (B-21)", async () => {
    const post = await listenNest(platform, { controllers: [Scoped] });
    runs = 0;
    for (const _ of [1, 2]) {
      expect(await (await post("/scoped")).json()).toEqual({ key: "k", run: "run 1" });
    }
  });

  it("of another origin may read the layer's headers on a replay (B-31, B-105)", async () => {
    const post = await listenNest(platform, {
      controllers,
      configure: (app) => app.enableCors({ origin: true, exposedHeaders: "X-Own" }),
    });
    await post("/payments", { headers: { origin: "https://a.example" } });
    const replay = await post("/payments", { headers: { origin: "https://b.example" } });
    expect(replay.headers.get("access-control-allow-origin")).toBe("https://b.example");
    const exposed = replay.headers.get("access-control-expose-headers");
    expect(exposed).toBe("X-Own, idempotency-replayed, idempotency-original-date");
  });

  it("are compared by value, and target and body with it (B-22, B-55, B-58, B-62)", async () => {
    const post = await listenNest(platform, { controllers });
    const send = (path: string, body: string) => post(path, { headers: json, body });
    const first = await send("/payments/1/capture", '{"a":1,"b":2}');
    expect(await first.json()).toMatchObject({ id: "1", body: { a: 1, b: 2 } });
    const same = await send("/payments/1/capture", '{ "b":2, "a":1 }');
    expect(same.headers.get("idempotency-replayed")).toBe("true");
    expect((await send("/payments/2/capture", '{"a":1,"b":2}')).status).toBe(422);
    expect((await send("/payments/1/capture?now", '{"a":1,"b":2}')).status).toBe(422);
    expect((await send("/payments/1/capture", '{"a":2}')).status).toBe(422);
  });

  it("are compared by their raw body where Nest keeps it (B-62)", async () => {
    const post = await listenNest(platform, {
      controllers,
      options: { fingerprint: { json: "bytes" } },
      app: { rawBody: true },
    });
    const send = (body: string) => post("/payments/1/capture", { headers: json, body });
    expect((await send('{"a":9007199254740992}')).status).toBe(201);
    expect((await send('{"a":9007199254740993}')).status).toBe(422);
    expect((await send('{"a":9007199254740992}')).status).toBe(201);
  });

  it("that are not HTTP are left alone", async () => {
    const app = await createNest(platform, { controllers });
    await app.init();
    const creator = app.get(ExternalContextCreator);
    const payments = app.get(Payments);
    const resolve = creator.create(
      payments,
      // oxlint-disable-next-line typescript/unbound-method -- Nest calls it on the instance
      payments.list,
      "list",
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      "graphql",
    );
    runs = 0;
    expect(await resolve(undefined, {}, {}, {})).toBe("run 1");
    await app.close();
  });
});

@Controller({ path: "orders", version: ["1", "2"] })
class Orders {
  @Post(":id/capture") capture() {
    return run();
  }
  @Version("3") @Post(":id/capture") captureLater() {
    return run();
  }
}

@Controller({ path: "orders", host: ":tenant.example.com" })
class HostedOrders {
  @Post() order() {
    return run();
  }
}

describe.each(platforms)("the operation on Nest on %s", (platform) => {
  async function operations(type: VersioningType) {
    const seen: string[] = [];
    const post = await listenNest(platform, {
      controllers: [Orders],
      engine: { onEvent: ({ operation }) => seen.push(operation ?? "") },
      configure: (app) => {
        app.setGlobalPrefix("api");
        if (type === VersioningType.URI) app.enableVersioning({ type });
        else app.enableVersioning({ type: VersioningType.HEADER, header: "x-version" });
      },
    });
    return { post, seen };
  }

  it("is the method and the whole pattern, with prefix and version (B-59)", async () => {
    const { post, seen } = await operations(VersioningType.URI);
    runs = 0;
    for (const version of ["v1", "v2", "v3"]) await post(`/api/${version}/orders/7/capture`);
    expect(seen).toEqual([
      "POST /api/v1/orders/:id/capture",
      "POST /api/v2/orders/:id/capture",
      "POST /api/v3/orders/:id/capture",
    ]);
    expect(runs).toBe(3);
  });

  it("tells versions of a header apart, too (B-59)", async () => {
    const { post, seen } = await operations(VersioningType.HEADER);
    const answers: string[] = [];
    runs = 0;
    for (const version of ["1", "2", "3", "3"]) {
      const headers = { "x-version": version };
      answers.push(await textOf(post("/api/orders/7/capture", { headers })));
    }
    // The same handler serves 1 and 2.
    expect(answers).toEqual(["run 1", "run 1", "run 2", "run 2"]);
    const pattern = "POST /api/orders/:id/capture";
    const both = `${pattern} (version 1,2)`;
    expect(seen).toEqual([both, both, `${pattern} (version 3)`, `${pattern} (version 3)`]);
  });
});

describe("the operation on Nest on Express", () => {
  it("tells hosts apart where a controller does (B-58)", async () => {
    const seen: string[] = [];
    const post = await listenNest("Express", {
      controllers: [HostedOrders],
      engine: { onEvent: ({ operation }) => seen.push(operation ?? "") },
      configure: (app) => app.getHttpAdapter().getInstance().set("trust proxy", true),
    });
    const at = (tenant: string) => ({ headers: { "x-forwarded-host": `${tenant}.example.com` } });
    expect((await post("/orders", at("a"))).status).toBe(201);
    expect((await post("/orders", at("b"))).status).toBe(422);
    expect(seen).toContain("POST :tenant.example.com/orders");
  });
});

describe("the module's own construction on Nest", () => {
  it("takes options from other providers, and gives its engine to others", async () => {
    @Module({ providers: [{ provide: "engine", useValue: engine }], exports: ["engine"] })
    class Engines {}
    @Controller("given")
    class Given {
      @Inject(LATCHKEY_ENGINE) private readonly engine!: Engine;
      @Post() given() {
        return this.engine.run({ operation: "op", scope: "s", key: "k" }, () => run());
      }
    }
    const latchkey = LatchkeyModule.forRootAsync({
      imports: [Engines],
      inject: ["engine"],
      useFactory: async (injected: Engine) => ({
        engine: injected,
        scope: (request: NestRequest) => request.headers["x-user"],
        required: true,
      }),
    });
    const post = await listenNest("Express", {
      controllers: [Given],
      isPlain: true,
      metadata: { imports: [latchkey] },
    });
    expect((await post("/given", noKey)).status).toBe(400);
    const as = (user: string) => ({ headers: { "x-user": user } });
    runs = 0;
    const answers = [post("/given", as("a")), post("/given", as("b"))].map(textOf);
    expect(await Promise.all(answers)).toEqual(["run 1", "run 1"]);
  });

  it("refuses a missing engine or scope, and what it does not know (B-101)", async () => {
    // @ts-expect-error -- whose keys these are must be said
    expect(() => LatchkeyModule.forRoot({ engine })).toThrow(/needs \{ scope \}/);
    // @ts-expect-error -- nothing can be claimed without an engine
    expect(() => LatchkeyModule.forRoot({ scope: "public" })).toThrow(/needs \{ engine \}/);
    // @ts-expect-error -- an option of another name would be ignored
    expect(() => LatchkeyModule.forRoot({ engine, scope: "public", requried: true })).toThrow(
      /does not know the option "requried"/,
    );
    // @ts-expect-error -- the same in a decorator
    expect(() => Idempotent({ record: "none" })).toThrow(/record must be/);
    // @ts-expect-error -- a factory's options are the same
    const useFactory: Parameters<typeof LatchkeyModule.forRootAsync>[0]["useFactory"] = () => ({
      engine,
    });
    const imports = [LatchkeyModule.forRootAsync({ useFactory })];
    const setup = { controllers: [], isPlain: true, metadata: { imports } };
    await expect(createNest("Express", setup)).rejects.toThrow(TypeError);
  });
});
