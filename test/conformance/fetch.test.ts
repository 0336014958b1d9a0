/** The rules of HTTP on `Request → Response` handlers. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { fetchSubject } from "../support/conformance/web-subjects.ts";

holdRules(fetchSubject);
