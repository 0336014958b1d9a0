// The application as an ECMAScript module.
import "reflect-metadata";
import * as common from "@nestjs/common";
import * as core from "@nestjs/core";
import * as latchkey from "latchkey";
import * as memory from "latchkey/memory";
import * as nest from "latchkey/nest";
import { serve } from "./application.js";

await serve({ common, core, latchkey, memory, nest });
