/** The demo payments API as a process of its own, to be raced, killed and paused. */
import { startListening } from "./listening-process.ts";
import type { ListeningProcess } from "./listening-process.ts";

export interface DemoProcess extends ListeningProcess {
  /** Posts one payment with a key; `path` defaults to the protected route. */
  readonly pay: (key: string, path?: string) => Promise<Response>;
  readonly charges: () => Promise<readonly { readonly receipt: string; readonly key: string }[]>;
}

const command = new URL("../../src/cli/latchkey.ts", import.meta.url).pathname;

/** Starts the demo on a free port and resolves once it listens. Flags as of `latchkey demo`. */
export async function startDemo(flags: Readonly<Record<string, string>>): Promise<DemoProcess> {
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const listening = await startListening(command, ["demo", "--port", "0", ...args]);
  const { url } = listening;
  return {
    ...listening,
    pay: (key, path = "/process-payment") =>
      fetch(url + path, {
        method: "POST",
        headers: { "idempotency-key": key, "content-type": "application/json" },
        body: '{"amount":42}',
      }),
    charges: async () => {
      const response = await fetch(`${url}/charges`);
      const { charges } = (await response.json()) as {
        charges: { receipt: string; key: string }[];
      };
      return charges;
    },
  };
}
