/** Makes a body that differs from the raced one and is likely to be as valid. Sends nothing. */

/**
 * A JSON object gets its first number increased, else its first string lengthened, else a field
 * added; other JSON changes as little; anything else gets a byte appended; no body becomes a small
 * JSON object.
 */
export function otherBodyOf(body: string | undefined): string {
  if (body === undefined || body === "") return '{"race":"another body"}';
  const value = parse(body);
  if (typeof value === "number") return String(value + 1);
  if (typeof value === "string") return JSON.stringify(`${value}x`);
  if (Array.isArray(value)) return JSON.stringify([...(value as unknown[]), "another body"]);
  if (typeof value !== "object" || value === null) return `${body}x`;
  const fields = Object.entries(value);
  const field =
    fields.find(([, one]) => typeof one === "number") ??
    fields.find(([, one]) => typeof one === "string");
  if (field === undefined) return JSON.stringify({ ...value, race: "another body" });
  const [name, old] = field as [string, number | string];
  return JSON.stringify({ ...value, [name]: typeof old === "number" ? old + 1 : `${old}x` });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
