/** The rules of HTTP on Fastify. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { fastifySubject } from "../support/conformance/fastify-subject.ts";

holdRules(fastifySubject);
