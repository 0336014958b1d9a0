/** The test route on Fastify, its body parsed and its answers sent by Fastify itself. */
import { createServer } from "node:http";
import { Readable } from "node:stream";
import fastify from "fastify";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { idempotent } from "../../../src/adapters/fastify.ts";
import type { FastifyRequest as GuardedRequest } from "../../../src/adapters/fastify.ts";
import type { HttpSubject, Play, TestRoute } from "../../../src/conformance/suites.ts";
import { adapterSubject, outerLayer } from "./adapter-subject.ts";
import type { Mount } from "./adapter-subject.ts";
import { lineOf } from "./node-subjects.ts";

const ways: Readonly<Record<string, (reply: FastifyReply, play: Play) => unknown>> = {
  json: (reply, { status }) => reply.code(status).send({ in: "its way" }),
  text: (reply, { status }) => reply.code(status).send("in its way"),
  stream: (reply, { status, body }) => reply.code(status).send(Readable.from([body])),
  hijack: (reply, { status, body }) => {
    reply.hijack();
    reply.raw.writeHead(status).end(body);
  },
  redirect: (reply) => reply.redirect("/receipts/7", 303),
  "throw 402": () => {
    throw Object.assign(new Error("no money"), { statusCode: 402 });
  },
  "throw 500": () => {
    throw new Error("as told");
  },
};

async function answer(route: TestRoute, request: FastifyRequest, reply: FastifyReply) {
  const asked = route.inquire(request.originalUrl);
  if (asked !== undefined) return reply.type("application/json").send(asked);
  const { idempotency } = request as GuardedRequest;
  const play = await route.perform({
    instruction: lineOf(request.raw, "x-verify"),
    body: async () => (request.body as Buffer | undefined) ?? Buffer.alloc(0),
    idempotency: idempotency ?? undefined,
  });
  if (play.via !== undefined) return ways[play.via]?.(reply, play);
  if (play.hints !== undefined) reply.raw.writeEarlyHints({ link: play.hints });
  reply.code(play.status);
  for (const name of new Set(play.headers.map(([one]) => one))) {
    const values = play.headers.filter(([one]) => one === name).map(([, value]) => value);
    reply.header(name, values.length === 1 ? values[0] : values);
  }
  for (const [name, value] of play.trailers) reply.trailer(name, async () => value);
  return reply.send(play.rest === undefined ? play.body : Readable.from(parts(play)));
}

/** Both parts, one after the other; throws where the answer is to break off. */
export async function* parts({ body, rest }: Play): AsyncGenerator<Buffer> {
  yield body;
  const last = await rest?.();
  if (last === "cut") throw new Error("The test route breaks off, as it was told.");
  if (last !== undefined) yield last;
}

/** The outer layer as a hook. */
export function addOuter(app: FastifyInstance): void {
  app.addHook("onRequest", (request, reply, done) => {
    const header = (name: string): string | undefined => lineOf(request.raw, name);
    const { status, headers, timeoutMs } = outerLayer(request.method, header);
    for (const [name, value] of headers) reply.header(name, value);
    if (timeoutMs !== undefined) {
      setTimeout(() => {
        if (!reply.sent) void reply.code(504).send("too slow");
      }, timeoutMs);
    }
    if (status === undefined) done();
    else void reply.code(status).send();
  });
}

const mount: Mount = async (engine, options, route) => {
  const server = createServer();
  const app = fastify({ serverFactory: (handler) => server.on("request", handler) });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  addOuter(app);
  const scope = ({ raw }: GuardedRequest): string | undefined => lineOf(raw, "x-user");
  await app.register(idempotent(engine, { scope, ...options } as never));
  for (const url of ["/r", "/r/:part"]) {
    app.all(url, (request, reply) => answer(route, request, reply));
  }
  await app.ready();
  return server;
};

export const fastifySubject: HttpSubject = adapterSubject({
  name: "Fastify 5",
  mount,
  ways: Object.keys(ways),
});
