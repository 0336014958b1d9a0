/** The rules of HTTP on Koa 2. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { koa2Subject } from "../support/conformance/koa-subjects.ts";

holdRules(koa2Subject);
