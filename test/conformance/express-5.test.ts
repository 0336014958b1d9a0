/** The rules of HTTP on Express 5. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { express5Subject } from "../support/conformance/node-subjects.ts";

holdRules(express5Subject);
