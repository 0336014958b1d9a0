/**
 * Every adapter as a subject, in the order of the columns of docs/conformance.md. A new adapter is
 * one line here and one file in test/conformance/.
 */
import type { HttpSubject } from "../../../src/conformance/suites.ts";
import { fastifySubject } from "./fastify-subject.ts";
import { koa2Subject, koa3Subject } from "./koa-subjects.ts";
import { nestExpressSubject, nestFastifySubject } from "./nest-subjects.ts";
import { express4Subject, express5Subject, nodeSubject } from "./node-subjects.ts";
import { fetchSubject, honoSubject } from "./web-subjects.ts";

export const columns: readonly HttpSubject[] = [
  nodeSubject,
  express4Subject,
  express5Subject,
  fastifySubject,
  honoSubject,
  koa2Subject,
  koa3Subject,
  nestExpressSubject,
  nestFastifySubject,
  fetchSubject,
];
