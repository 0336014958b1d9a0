/**
 * Reads the `Idempotency-Key` header: an RFC 8941 string item, or a bare token as most SDKs send
 * it. Only syntax.
 */

export type KeyHeader =
  | { readonly kind: "absent" }
  | { readonly kind: "invalid"; readonly detail: string }
  | { readonly kind: "key"; readonly key: string };

// sf-string with optional parameters, which are ignored (B-7).
const quoted = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"(.*)$/;
const parameters =
  /^(?:; *[a-z*][a-z0-9_.*-]*(?:=(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[^\s";,]+))?)*$/;
// Visible ASCII; a comma or a quote would mean two values joined into one (B-11).
const bare = /^[\x21\x23-\x2b\x2d-\x7e]+$/;

/**
 * The key in the header's field lines: several lines are not an Item and therefore invalid.
 * `strict` takes quoted strings only (B-5).
 */
export function readKeyHeader(lines: readonly string[], strict = false): KeyHeader {
  const [line, ...more] = lines;
  if (line === undefined) return { kind: "absent" };
  if (more.length > 0) return invalid("The header was sent more than once.");
  const text = line.replace(/^[ \t]+|[ \t]+$/g, "");
  if (text === "") return invalid("The header is empty.");
  if (strict && !text.startsWith('"')) return invalid("The key must be a quoted string.");
  const key = text.startsWith('"') ? unquote(text) : bareKey(text);
  if (key === undefined) {
    return invalid("The header is neither a quoted string nor 1 to 255 visible ASCII characters.");
  }
  return checkedKey(key);
}

/** A key from wherever, checked: 1 to 255 visible ASCII characters, not all of them blank. */
export function checkedKey(key: string): KeyHeader {
  if (typeof key !== "string" || key.trim() === "") return invalid("The key is empty.");
  if (key.length > 255) return invalid("The key is longer than 255 bytes.");
  if (!/^[\x20-\x7e]+$/.test(key)) return invalid("The key is not visible ASCII.");
  return { kind: "key", key };
}

function unquote(text: string): string | undefined {
  const [, key, rest = ""] = quoted.exec(text) ?? [];
  return parameters.test(rest) ? key?.replace(/\\(["\\])/g, "$1") : undefined;
}

function bareKey(text: string): string | undefined {
  return bare.test(text) ? text : undefined;
}

function invalid(detail: string): KeyHeader {
  return { kind: "invalid", detail };
}
