/**
 * Platforms that stop a request's work when its response or its client is gone (Workers, serverless
 * functions) go on for promises they are told of: here is how those promises reach them.
 */

type Tell = (work: Promise<unknown>) => void;

/**
 * What tells the platform of work: `waitUntil` of the route's options, or of the last argument of
 * the handler that has such a method, as Workers' and Netlify's contexts do. `undefined` where
 * nothing has.
 */
export function waitUntilOf<Args extends readonly unknown[]>(
  chosen: ((work: Promise<unknown>, ...args: Args) => void) | undefined,
  args: Args,
): Tell | undefined {
  if (chosen !== undefined) return (work) => chosen(work, ...args);
  return methodOf(args.findLast(canWait));
}

/** The same of a context that may have the method. */
export function methodOf(context: unknown): Tell | undefined {
  return canWait(context) ? (work) => context.waitUntil(work) : undefined;
}

function canWait(value: unknown): value is { readonly waitUntil: Tell } {
  const { waitUntil } = (value ?? {}) as { readonly waitUntil?: unknown };
  return typeof waitUntil === "function";
}
