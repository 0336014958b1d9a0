/** The rules of HTTP on Express 4. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { express4Subject } from "../support/conformance/node-subjects.ts";

holdRules(express4Subject);
