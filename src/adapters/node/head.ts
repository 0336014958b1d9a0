/**
 * The head of a response between its end and its leaving. While the record is written an error may
 * still go its framework's way and rewrite status and headers, since to the framework nothing has
 * been sent: the client must get the head that is recorded.
 */
import type { OutgoingHttpHeaders, ServerResponse } from "node:http";

/** Keeps the head as it is now; to be let go of right before the response leaves. */
export function holdHead(res: ServerResponse): () => void {
  const { statusCode, statusMessage } = res;
  const headers: OutgoingHttpHeaders = res.headersSent ? {} : res.getHeaders();
  const writers = ["writeHead", "flushHeaders"].map((name) => [name, Reflect.get(res, name)]);
  Object.assign(res, { writeHead: () => res, flushHeaders: () => undefined });
  return () => {
    Object.assign(res, Object.fromEntries(writers));
    if (res.headersSent) return;
    Object.assign(res, { statusCode, statusMessage });
    for (const name of res.getHeaderNames())
      if (headers[name] === undefined) res.removeHeader(name);
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined && res.getHeader(name) !== value) res.setHeader(name, value);
    }
  };
}
