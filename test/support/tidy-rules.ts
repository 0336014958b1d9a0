// The laws of the house as pure functions from (path, text) to findings: arrows between the layers,
// purity of machine/, sizes and names. test/tidy.test.ts walks the repository with them.

import { posix } from "node:path";
import { parseSync } from "oxc-parser";

/** A layer may import its own files and what matches here; paths are relative to src/. */
const ARROWS: Readonly<Record<string, RegExp>> = {
  machine: /^machine\//,
  stores: /^(stores|machine)\/|^(errors|duration)\.ts$/,
  engine: /^(engine|machine)\/|^stores\/store\.ts$|^(errors|duration)\.ts$/,
  http: /^(http|engine)\/|^(errors|duration)\.ts$/,
  adapters: /^(adapters|http|engine)\/|^(errors|duration)\.ts$/,
  client: /^client\//,
  conformance: /^(conformance|machine)\/|^stores\/store\.ts$|^errors\.ts$/,
  dashboard: /^dashboard\/|^stores\/store\.ts$|^engine\/events\.ts$/,
  proxy: /^(proxy|http|engine)\/|^(errors|duration)\.ts$/,
  cli: /./,
  "index.ts": /^(?!cli\/)/,
  "errors.ts": /^$/,
  "duration.ts": /^errors\.ts$/,
};

/** What a layer may name in its types, beyond that: the suite tells options, and runs no engine. */
const TYPE_ARROWS: Readonly<Record<string, RegExp>> = { conformance: /^(http|engine)\// };

/** An adapter is a translation; what it truly needs more stands in a folder of its name. */
const ADAPTER = /^src\/adapters\/[^/]+\.ts$/;
const ADAPTER_LINES = 120;

/** Frameworks whose types their adapters extend. */
const EXTENDED = new Set(["fastify", "hono", "koa"]);

const IMPURE =
  /^(Date|performance|process|setTimeout|setInterval|setImmediate|queueMicrotask|crypto)$/;
const BLOCK = /^(If|For|ForIn|ForOf|While|DoWhile|Switch|Try)Statement$/;
const FUNCTION = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;
const MARKS = new RegExp(`\\b(${"TO"}DO|FIX${"ME"})\\b|\\b(test|it|describe)\\.on${"ly"}\\b`);
const MACHINE_PATH = new RegExp(`(^|[\\s"'\`(])/(home|root|Users|wo${"rk"})/|\\.\\./sha${"red"}`);

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

/** All findings for one file; `path` is relative to the repository, with forward slashes. */
export function inspect(path: string, text: string): string[] {
  if (path.endsWith(".generated.ts")) return [];
  const parsed = parseSync(path, text);
  const found = [...inspectText(text), ...inspectShape(parsed.program as unknown as Node, text)];
  if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.(test|config|d))?\.ts$/.test(posix.basename(path))) {
    found.push("file name is not kebab-case");
  }
  const lines = text.split("\n").length - 1;
  if (ADAPTER.test(path) && lines > ADAPTER_LINES) found.push(`an adapter of ${lines} lines`);
  if (path.startsWith("src/")) {
    const { module } = parsed;
    const requests = [
      ...module.staticImports.map(({ moduleRequest, entries }) => {
        const isType = entries.length > 0 && entries.every((entry) => entry.isType);
        return { request: moduleRequest.value, isType };
      }),
      ...module.staticExports.flatMap(({ entries }) =>
        entries.flatMap(({ moduleRequest, isType }) =>
          moduleRequest === null ? [] : [{ request: moduleRequest.value, isType }],
        ),
      ),
    ];
    for (const { request, isType } of requests) {
      found.push(...inspectImport(path.slice(4), request, isType));
    }
    for (const one of module.dynamicImports) {
      const request = /^["'](\..*)["']$/.exec(
        text.slice(one.moduleRequest.start, one.moduleRequest.end),
      );
      if (request?.[1]) found.push(...inspectImport(path.slice(4), request[1]));
    }
    if (!/^(#!.*\n)?\s*(\/\/|\/\*)/.test(text)) found.push("does not open with a paragraph");
    if (/^export default /m.test(text)) found.push("default export");
    if (path.startsWith("src/machine/"))
      found.push(...inspectPurity(parsed.program as unknown as Node));
  }
  return found.map((one) => `${path}: ${one}`);
}

function inspectText(text: string): string[] {
  const lines = text.split("\n");
  const found = lines.length > 401 ? [`${lines.length - 1} lines`] : [];
  lines.forEach((line, index) => {
    const at = `line ${index + 1}`;
    if ([...line].length > 100) found.push(`${at} is over 100 columns`);
    if (MARKS.test(line)) found.push(`${at} carries an unfinished mark`);
    if (MACHINE_PATH.test(line)) found.push(`${at} names a path of one machine`);
  });
  return found;
}

/**
 * Everything else is taken by its shape. Nest finds modules, tokens and interceptors by functions
 * of its own, and interceptors are made of RxJS: that adapter alone imports its framework.
 */
function isNest(file: string, request: string): boolean {
  return /^adapters\/nest(\/|\.ts$)/.test(file) && /^(@nestjs\/(common|core)|rxjs)$/.test(request);
}

function inspectImport(file: string, request: string, isType = false): string[] {
  const layer = file.split("/")[0] ?? "";
  if (!request.startsWith(".")) {
    if (layer === "machine") return [`machine/ imports ${request}`];
    const isExtended = EXTENDED.has(request) && file === `adapters/${request}.ts`;
    const isOwn = request.startsWith("node:") || layer === "cli";
    const allowed = isOwn || isExtended || isNest(file, request);
    return allowed ? [] : [`imports the package ${request}`];
  }
  const target = posix.join(posix.dirname(file), request);
  const arrow = ARROWS[layer];
  if (arrow === undefined) return [`no arrow is drawn for ${layer}`];
  const isAllowed = arrow.test(target) || (isType && TYPE_ARROWS[layer]?.test(target) === true);
  return isAllowed ? [] : [`${layer} must not import ${target}`];
}

function inspectShape(program: Node, text: string): string[] {
  const found: string[] = [];
  walk(program, { depth: 0, exempt: false }, (node, depth, exempt) => {
    const line = text.slice(0, node.start).split("\n").length;
    if (FUNCTION.test(node.type)) {
      const length = text.slice(node.start, node.end).split("\n").length;
      const params = node["params"] as readonly Node[] | undefined;
      if (length > 70 && !exempt) found.push(`function at line ${line} has ${length} lines`);
      const fourth = params?.[3];
      // Express tells error handlers by their four parameters, the last being next.
      const forced = fourth !== undefined && /^_?next\b/.test(text.slice(fourth.start, fourth.end));
      if ((params?.length ?? 0) > (forced ? 4 : 3))
        found.push(`function at line ${line} has over 3 parameters`);
    }
    if (BLOCK.test(node.type) && depth > 3) found.push(`line ${line} nests deeper than 3`);
  });
  return found;
}

function inspectPurity(program: Node): string[] {
  const found: string[] = [];
  walk(program, { depth: 0, exempt: false }, (node) => {
    if (node.type === "Identifier" && IMPURE.test(String(node["name"]))) {
      found.push(`machine/ uses ${String(node["name"])}`);
    }
    if (node["async"] === true) found.push("machine/ has an async function");
    const object = node["object"] as Node | undefined;
    const property = node["property"] as Node | undefined;
    if (object?.["name"] === "Math" && property?.["name"] === "random") {
      found.push("machine/ uses Math.random");
    }
  });
  return found;
}

interface Place {
  readonly depth: number;
  /** Inside the arguments of `describe`, whose callback is a chapter and not a function. */
  readonly exempt: boolean;
}

type Visit = (node: Node, depth: number, exempt: boolean) => void;

function walk(node: Node, place: Place, visit: Visit): void {
  const inner = BLOCK.test(node.type) ? place.depth + 1 : place.depth;
  visit(node, inner, place.exempt);
  const depth = FUNCTION.test(node.type) ? 0 : inner;
  const exempt = (node["callee"] as Node | undefined)?.["name"] === "describe";
  for (const [key, value] of Object.entries(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (!isNode(child)) continue;
      const elseIf = key === "alternate" && child.type === "IfStatement";
      walk(child, { depth: elseIf ? depth - 1 : depth, exempt }, visit);
    }
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}
