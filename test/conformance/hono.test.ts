/** The rules of HTTP on Hono. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { honoSubject } from "../support/conformance/web-subjects.ts";

holdRules(honoSubject);
