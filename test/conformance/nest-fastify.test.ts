/** The rules of HTTP on Nest, on Fastify. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { nestFastifySubject } from "../support/conformance/nest-subjects.ts";

holdRules(nestFastifySubject);
