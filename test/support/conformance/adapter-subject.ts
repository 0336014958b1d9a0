/** Subjects of the HTTP suite: the test route behind one of our adapters, on a real server. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createTestRoute } from "../../../src/conformance/suites.ts";
import type {
  HttpSubject,
  Pairs,
  Served,
  Setup,
  TestRoute,
} from "../../../src/conformance/suites.ts";
import type { Clock } from "../../../src/conformance/suites.ts";
import { createEngine } from "../../../src/engine/engine.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { memoryStore } from "../../../src/stores/memory.ts";
import type { Store } from "../../../src/stores/store.ts";
import { virtualClock } from "../subjects.ts";

/** Route options as a rule gives them, with the scope still to be added. */
export type RouteOptions = NonNullable<Setup["options"]>;

/**
 * Builds a server that protects `/r` as one route and `/r/:part` as another, behind `outerLayer`.
 * The scope is the header `x-user`, unless the options leave it out.
 */
export type Mount = (
  engine: Engine,
  options: RouteOptions,
  route: TestRoute,
) => Server | Promise<Server>;

export interface AdapterSubject {
  readonly name: string;
  readonly mount: Mount;
  readonly lacks?: HttpSubject["lacks"];
  readonly ways: readonly string[];
  /** Default: a memory store of its own for each route. */
  readonly openStore?: () => { readonly store: Store; readonly clock: Clock };
}

/** The subject of an adapter. */
export function adapterSubject(parts: AdapterSubject): HttpSubject {
  const { name, mount, lacks = {}, ways, openStore = openMemory } = parts;
  return {
    name,
    mountable: true,
    lacks,
    ways,
    callers: {
      first: [["X-User", "u-1"]],
      other: [["X-User", "u-2"]],
      rotated: [
        ["X-User", "u-1"],
        ["Authorization", "Bearer newer"],
      ],
      // The same caller: only the credential tells it from the first.
      revoked: [
        ["X-User", "u-1"],
        ["Authorization", "Bearer revoked"],
      ],
    },
    serve: (setup) => serveOn({ ...openStore(), mount, route: createTestRoute() }, setup),
  };
}

interface Place {
  readonly mount: Mount;
  readonly store: Store;
  readonly clock: Clock;
  readonly route: TestRoute;
}

async function serveOn(place: Place, setup: Setup): Promise<Served> {
  const { mount, store, clock, route } = place;
  const { options = {}, engine: given, store: before } = setup;
  const engine = createEngine({ ...given, store: before?.(store) ?? store });
  const server = await mount(engine, options, route);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/r`,
    clock,
    beside: (other) => serveOn(place, other),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await engine.close(100);
    },
  };
}

function openMemory(): { readonly store: Store; readonly clock: Clock } {
  const clock = virtualClock();
  return { store: memoryStore({ now: clock.nowMs }), clock };
}

/** What the layers outside say to a request. */
export interface Outer {
  /** Answered here, before the idempotency layer: a refused credential, a preflight. */
  readonly status: 401 | 204 | undefined;
  /** Headers for whatever answers. */
  readonly headers: Pairs;
  /** A timeout in front of the handler, in ms. */
  readonly timeoutMs: number | undefined;
}

/** Authentication, CORS, request ids and a timeout, as they stand outside in most services. */
export function outerLayer(
  method: string,
  header: (name: string) => string | null | undefined,
): Outer {
  const origin = header("origin") ?? "";
  const cors: Pairs = [
    ["access-control-allow-origin", origin],
    ["access-control-allow-headers", "content-type, idempotency-key"],
    ["vary", "origin"],
  ];
  const isPreflight = method === "OPTIONS" && Boolean(header("access-control-request-method"));
  const timeout = header("x-timeout-ms") ?? "";
  return {
    status: header("authorization") === "Bearer revoked" ? 401 : isPreflight ? 204 : undefined,
    headers: [["x-request-id", randomUUID()], ...(origin === "" ? [] : cors)],
    timeoutMs: timeout === "" ? undefined : Number(timeout),
  };
}
