/** The rules of HTTP on Nest, on Express. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { nestExpressSubject } from "../support/conformance/nest-subjects.ts";

holdRules(nestExpressSubject);
