/**
 * The options every HTTP adapter shares, their defaults in one frozen object, and their check at
 * construction.
 */

export interface HttpOptions<Req> {
  /**
   * Whose keys these are: a function of the request, run after authentication, or the explicit
   * literal `"public"`. Required: without it one customer's response could reach another.
   */
  readonly scope: "public" | ((request: Req) => unknown);
  /** Refuse requests without a key. Default false. */
  readonly required?: boolean;
  /** Methods that are protected. Default `["POST", "PATCH"]`. */
  readonly methods?: readonly string[];
  /**
   * Method and route pattern, when the adapter cannot know them. Default: what the framework says,
   * or the path.
   */
  readonly operation?: string;
  /** Further response headers to record and replay, beside the allow-list. Default none. */
  readonly replayHeaders?: readonly string[];
  /** Largest response body that is recorded, in bytes; a larger one is omitted. Default 1 MiB. */
  readonly maxRecordedBytes?: number;
  /**
   * Largest request body read for the fingerprint, in bytes; a larger one gets 413. Default 1 MiB.
   */
  readonly maxRequestBytes?: number;
}

export const httpDefaults: Readonly<{
  required: boolean;
  methods: readonly string[];
  maxRecordedBytes: number;
  maxRequestBytes: number;
}> = Object.freeze({
  required: false,
  methods: Object.freeze(["POST", "PATCH"]),
  maxRecordedBytes: 1_048_576,
  maxRequestBytes: 1_048_576,
});

export interface HttpPolicy {
  readonly required: boolean;
  readonly methods: ReadonlySet<string>;
  readonly replayHeaders: readonly string[];
  readonly maxRecordedBytes: number;
  readonly maxRequestBytes: number;
}

const known: ReadonlySet<string> = new Set([
  "scope",
  "required",
  "methods",
  "operation",
  "replayHeaders",
  "maxRecordedBytes",
  "maxRequestBytes",
]);

/**
 * Checks an adapter's options; throws `TypeError` on a missing scope, an unknown option or a wrong
 * value.
 */
export function httpPolicy<Req>(options: HttpOptions<Req>): HttpPolicy {
  if (typeof options?.scope !== "function" && options?.scope !== "public") {
    throw new TypeError(
      'idempotent needs { scope }: a function such as (req) => req.user.id, or "public".',
    );
  }
  for (const name of Object.keys(options)) {
    if (!known.has(name)) throw new TypeError(`idempotent does not know the option "${name}".`);
  }
  const methods = options.methods ?? httpDefaults.methods;
  return {
    required: options.required ?? httpDefaults.required,
    methods: new Set(methods.map((method) => method.toUpperCase())),
    replayHeaders: options.replayHeaders ?? [],
    maxRecordedBytes: bytes(
      options.maxRecordedBytes ?? httpDefaults.maxRecordedBytes,
      "maxRecordedBytes",
    ),
    maxRequestBytes: bytes(
      options.maxRequestBytes ?? httpDefaults.maxRequestBytes,
      "maxRequestBytes",
    ),
  };
}

/** The scope of a request by its options. */
export function scopeFor<Req>(options: HttpOptions<Req>, request: Req): unknown {
  return options.scope === "public" ? "public" : options.scope(request);
}

function bytes(value: number, name: string): number {
  if (Number.isInteger(value) && value >= 0) return value;
  throw new TypeError(`${name} must be a whole number of bytes; got ${value}.`);
}
