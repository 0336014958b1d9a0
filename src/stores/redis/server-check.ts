/**
 * Whether the servers are fit to keep records: masters, new enough, never evicting, persistent, and
 * with the replicas that an acknowledgement needs. What an ACL or a provider hides is told as
 * unverified.
 */
import { isLatchkeyError, LatchkeyError } from "../../errors.ts";
import { isForbidden } from "./client.ts";
import type { Link, LinkedMaster } from "./client.ts";

export interface Requirements {
  /** Accept servers that evict or do not persist. */
  readonly allowVolatile: boolean;
  /** Replicas that every master must have. */
  readonly replicas: number;
  /** Whether writes are acknowledged from the disk. */
  readonly disk: boolean;
}

/** Refuses servers that do not meet the requirements, with `store-unsuitable`. */
export async function checkServers(link: Link, needed: Requirements): Promise<void> {
  for (const master of await link.masters()) await checkServer(master, needed);
}

/** Checks after a reconnect or a failover, when all that is left is to tell, loudly. */
export function checkAgain(link: Link, needed: Requirements): void {
  checkServers(link, needed).catch((error: unknown) => {
    const unfit = isLatchkeyError(error) && error.code === "store-unsuitable";
    if (unfit) warn(`The servers have changed. ${error.message}`);
  });
}

async function checkServer({ send }: LinkedMaster, needed: Requirements): Promise<void> {
  const info = await permitted(async () => String(await send("INFO", [])));
  if (info === undefined) {
    return warn(
      "Redis forbids INFO: that it is a master, 7.0 or newer, persistent, and never evicts is " +
        "unverified.",
    );
  }
  const field: Field = (name) => new RegExp(`^${name}:(.*?)\r?$`, "m").exec(info)?.[1] ?? "";
  checkRole(field);
  checkAcknowledgement(field, needed);
  if (needed.allowVolatile) return;
  const policy = field("maxmemory_policy");
  if (policy !== "noeviction") {
    throw unsuitable(
      `This Redis may evict records (maxmemory-policy ${policy}). Set it to noeviction, ` +
        "or accept forgotten payments with allowVolatile: true.",
    );
  }
  if (field("aof_enabled") !== "1") await checkSnapshots(send);
}

type Field = (name: string) => string;

function checkRole(field: Field): void {
  const version = field("redis_version");
  if (!(Number.parseInt(version, 10) >= 7)) {
    throw unsuitable(`Redis ${version} is too old. Use Redis or Valkey 7.0 or newer.`);
  }
  if (field("role") !== "master") {
    throw unsuitable("This Redis is a replica. Connect to the master.");
  }
}

function checkAcknowledgement(field: Field, { replicas, disk }: Requirements): void {
  const connected = Number(field("connected_slaves"));
  if (connected < replicas) {
    throw unsuitable(
      `Claims want ${replicas} replicas to acknowledge them, and this Redis has ${connected}. ` +
        "Add replicas, or leave acknowledge out.",
    );
  }
  const [major = 0, minor = 0] = field("redis_version").split(".").map(Number);
  if (disk && major * 100 + minor < 702) {
    throw unsuitable("acknowledge.disk needs Redis or Valkey 7.2. Use a newer server.");
  }
  if (disk && field("aof_enabled") !== "1") {
    throw unsuitable("acknowledge.disk needs the append-only file. Set appendonly to yes.");
  }
}

// Without the append-only file there may still be snapshots: only CONFIG says so.
async function checkSnapshots(send: LinkedMaster["send"]): Promise<void> {
  const save = await permitted(() => send("CONFIG", ["GET", "save"]));
  if (save === undefined) {
    return warn(
      "Redis keeps no append-only file and forbids CONFIG: that it persists records is unverified.",
    );
  }
  if (!textsOf(save).some((text) => /^\d+ \d+/.test(text))) {
    throw unsuitable(
      "This Redis does not persist: a restart forgets every claim. Set appendonly to yes, " +
        "or accept forgotten payments with allowVolatile: true.",
    );
  }
  return warn(
    "This Redis only takes snapshots: a crash forgets the claims since the last one. " +
      "Set appendonly to yes.",
  );
}

/** The texts in a reply, whichever way a driver gives a map. */
function textsOf(reply: unknown): readonly string[] {
  if (typeof reply === "string" || Buffer.isBuffer(reply)) return [String(reply)];
  if (typeof reply !== "object" || reply === null) return [];
  const items = reply instanceof Map ? [...reply.values()] : Object.values(reply);
  return items.flatMap(textsOf);
}

// What an operator has to vouch for, when it cannot be looked at.
async function permitted<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}

function warn(message: string): void {
  process.emitWarning(message, "LatchkeyWarning");
}

function unsuitable(message: string): LatchkeyError {
  return new LatchkeyError("store-unsuitable", message);
}
