/**
 * The adapter for NestJS 11 and 12, on Express and on Fastify: a module and decorators. Unlike the
 * other adapters it imports its framework: Nest knows modules, tokens and interceptors by its own
 * functions and by RxJS. No metadata of a compiler is needed.
 */
import { createParamDecorator, Module, SetMetadata } from "@nestjs/common";
import type {
  CustomDecorator,
  DynamicModule,
  ExecutionContext,
  FactoryProvider,
  ModuleMetadata,
  NestInterceptor,
  Provider,
} from "@nestjs/common";
import { APP_INTERCEPTOR, ModulesContainer } from "@nestjs/core";
import type { Engine } from "../engine/engine.ts";
import type { Idempotency } from "../http/execution.ts";
import { httpPolicy } from "../http/policy.ts";
import type { HttpOptions } from "../http/policy.ts";
import { watchHandlers } from "./nest/handler.ts";
import { createInterceptor } from "./nest/interceptor.ts";
import { IDEMPOTENT } from "./nest/route.ts";
import type { NestRequest } from "./nest/route.ts";

export type { Idempotency } from "../http/execution.ts";
export type { NestRequest } from "./nest/route.ts";

/** Options of the module: the engine, and what every adapter's `idempotent(engine, …)` takes. */
export type NestOptions<Req extends NestRequest = NestRequest> = HttpOptions<Req> & {
  readonly engine: Engine;
};

/** Options of the module that come from other providers. */
export type NestAsyncOptions<Req extends NestRequest = NestRequest> = Pick<
  ModuleMetadata,
  "imports"
> &
  Pick<FactoryProvider<NestOptions<Req>>, "inject" | "useFactory">;

/** The token of the engine, for `engine.run()` in services: `@Inject(LATCHKEY_ENGINE)`. */
export const LATCHKEY_ENGINE: unique symbol = Symbol("LATCHKEY_ENGINE");
const LATCHKEY_OPTIONS: unique symbol = Symbol("LATCHKEY_OPTIONS");

/**
 * Protects every route of an application: POST and PATCH, where a request carries a key. Routes say
 * more, or that they are exempt, with `@Idempotent()`.
 */
// oxlint-disable-next-line typescript/no-extraneous-class -- Nest knows a module by its class
export class LatchkeyModule {
  /** The module by its options; throws `TypeError` on a missing engine or scope, or a mistake. */
  static forRoot<Req extends NestRequest = NestRequest>(options: NestOptions<Req>): DynamicModule {
    return moduleOf({ provide: LATCHKEY_OPTIONS, useValue: checked(options) });
  }

  /** The module by options that a factory makes of other providers. */
  static forRootAsync<Req extends NestRequest = NestRequest>({
    imports = [],
    inject = [],
    useFactory,
  }: NestAsyncOptions<Req>): DynamicModule {
    const make = async (...injected: unknown[]): Promise<unknown> =>
      checked(await useFactory(...injected));
    const options = { provide: LATCHKEY_OPTIONS, inject, useFactory: make };
    return { ...moduleOf(options), imports };
  }
}
Module({})(LatchkeyModule);

function moduleOf(options: Provider): DynamicModule {
  const engine = {
    provide: LATCHKEY_ENGINE,
    inject: [LATCHKEY_OPTIONS],
    useFactory: ({ engine }: NestOptions): Engine => engine,
  };
  const interceptor = {
    provide: APP_INTERCEPTOR,
    inject: [LATCHKEY_OPTIONS, ModulesContainer],
    useFactory: ({ engine, ...http }: NestOptions, modules: ModulesContainer): NestInterceptor => {
      watchHandlers(modules);
      return createInterceptor(engine, http);
    },
  };
  const providers = [options, engine, interceptor];
  return { module: LatchkeyModule, global: true, providers, exports: [LATCHKEY_ENGINE] };
}

function checked<Req extends NestRequest>(options: NestOptions<Req>): NestOptions<Req> {
  const { engine, ...http } = options ?? {};
  if (typeof engine?.begin !== "function") {
    throw new TypeError("LatchkeyModule needs { engine }: what createEngine() gave.");
  }
  httpPolicy(http);
  return options;
}

/**
 * Says more of a method's or a controller's protection than the module does, or `false`: none. A
 * method's options win over its controller's, and those over the module's. Throws `TypeError` on a
 * mistake.
 */
export function Idempotent<Req extends NestRequest = NestRequest>(
  options: Partial<HttpOptions<Req>> | false = {},
): CustomDecorator<symbol> {
  if (options !== false) httpPolicy({ scope: "public", ...options });
  return SetMetadata(IDEMPOTENT, options);
}

/**
 * The `Idempotency` of this execution as a parameter of the handler; `undefined` when it runs
 * without a key: `pay(@IdempotencyOf() idempotency: Idempotency | undefined)`.
 */
export const IdempotencyOf: () => ParameterDecorator = createParamDecorator(
  (_data: unknown, context: ExecutionContext): Idempotency | undefined =>
    context.switchToHttp().getRequest<NestRequest>().idempotency ?? undefined,
);
