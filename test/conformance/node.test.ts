/** The rules of HTTP on `node:http`. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { nodeSubject } from "../support/conformance/node-subjects.ts";

holdRules(nodeSubject);
