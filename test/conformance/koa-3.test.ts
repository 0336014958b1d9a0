/** The rules of HTTP on Koa 3. */
import { holdRules } from "../support/conformance/hold-rules.ts";
import { koa3Subject } from "../support/conformance/koa-subjects.ts";

holdRules(koa3Subject);
