/** Streams, events and uploads of Nest, and clients that leave while they run. */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import {
  Controller,
  Post,
  Req,
  RequestMethod,
  Sse,
  StreamableFile,
  UploadedFile,
  UseInterceptors,
} from "@nestjs/common";
import { FileInterceptor } from "@nestjs/platform-express";
import { Observable, from, map } from "rxjs";
import { afterEach, describe, expect, it } from "vitest";
import { listenNest, platforms } from "../support/nest-servers.ts";
import { until } from "../support/poll.ts";

type Raw<T> = T & { readonly raw?: T };
let gate = Promise.withResolvers<void>();
let runs = 0;
let socket: IncomingMessage["socket"] | undefined;
let isLetGo = false;
afterEach(() => {
  gate = Promise.withResolvers();
  runs = 0;
  socket = undefined;
  isLetGo = false;
});

@Controller()
class Left {
  @Post("observable") observable(@Req() req: Raw<IncomingMessage>) {
    this.#arrive(req);
    return from(gate.promise).pipe(map(() => "charged"));
  }
  @Post("late-stream") async lateStream(@Req() req: Raw<IncomingMessage>) {
    this.#arrive(req);
    await gate.promise;
    return new StreamableFile(Readable.from([Buffer.from("one "), Buffer.from("two")]));
  }
  @Post("stream") stream(@Req() req: Raw<IncomingMessage>) {
    this.#arrive(req);
    async function* chunks() {
      yield Buffer.from("one ");
      await gate.promise;
      yield Buffer.from("two");
    }
    return new StreamableFile(Readable.from(chunks()));
  }
  @Sse("events", { method: RequestMethod.POST }) events(@Req() req: Raw<IncomingMessage>) {
    this.#arrive(req);
    return new Observable((subscriber) => {
      subscriber.next({ data: "one" });
      return () => void (isLetGo = true);
    });
  }
  @Sse("silence", { method: RequestMethod.POST }) silence(@Req() req: Raw<IncomingMessage>) {
    this.#arrive(req);
    return new Observable(() => () => void (isLetGo = true));
  }
  @Post("broken") broken() {
    runs += 1;
    const isBroken = runs === 1;
    async function* chunks() {
      yield Buffer.from("half");
      if (isBroken) throw new Error("cut");
      yield Buffer.from(" whole");
    }
    return new StreamableFile(Readable.from(chunks()));
  }
  #arrive(req: Raw<IncomingMessage>): void {
    runs += 1;
    ({ socket } = req.raw ?? req);
  }
}

describe.each(platforms)("a client that leaves Nest on %s", (platform) => {
  const slow = ["observable", "late-stream", "stream"].map((path) => [path] as const);
  it.each(slow)("changes nothing for /%s (B-76)", async (path) => {
    const post = await listenNest(platform, { controllers: [Left] });
    const abort = new AbortController();
    const cut = post(`/${path}`, { signal: abort.signal }).then((response) => response.text());
    await until(() => socket);
    abort.abort();
    await expect(cut).rejects.toThrow();
    await until(() => socket?.closed);
    expect((await post(`/${path}`)).status).toBe(409);
    gate.resolve();
    const retry = await until(async () => {
      const response = await post(`/${path}`);
      return response.status === 409 ? undefined : response;
    });
    const text = path === "observable" ? "charged" : "one two";
    expect([retry.status, await retry.text()]).toEqual([201, text]);
    expect(runs).toBe(1);
  });

  it("ends its events even before the first (B-110)", async () => {
    const post = await listenNest(platform, { controllers: [Left] });
    const abort = new AbortController();
    const response = await post("/silence", { signal: abort.signal });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    abort.abort();
    await until(() => isLetGo);
  });

  it("ends its events, which are omitted (B-110)", async () => {
    const post = await listenNest(platform, { controllers: [Left] });
    const abort = new AbortController();
    const response = await post("/events", { signal: abort.signal });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    await until(async () => (await reader?.read())?.value?.includes("data: one"));
    expect((await post("/events")).headers.get("retry-after")).not.toBeNull();
    abort.abort();
    await until(() => isLetGo);
    await until(async () => {
      const { code } = (await (await post("/events")).json()) as { code: string };
      return code === "result-omitted";
    });
    expect(runs).toBe(1);
  });
});

describe.each(platforms)("a stream on Nest on %s", (platform) => {
  it("that breaks off leaves the key free (B-111)", async () => {
    const post = await listenNest(platform, { controllers: [Left] });
    await expect(post("/broken").then((response) => response.text())).rejects.toThrow();
    const second = await until(async () => {
      const response = await post("/broken");
      return response.status === 409 ? undefined : response;
    });
    expect(await second.text()).toBe("half whole");
    expect(runs).toBe(2);
  });
});

@Controller()
class Uploads {
  @Post("upload")
  @UseInterceptors(FileInterceptor("file"))
  upload(@UploadedFile() file: { readonly buffer: Buffer }) {
    return `${file.buffer.toString()}, run ${(runs += 1)}`;
  }
}

describe("an upload on Nest on Express", () => {
  it("is compared before its interceptor reads it (B-22, B-55)", async () => {
    const post = await listenNest("Express", { controllers: [Uploads] });
    const upload = (content: string) => {
      const body = [
        "--frontier",
        'Content-Disposition: form-data; name="file"; filename="a.txt"',
        "",
        content,
        "--frontier--",
        "",
      ].join("\r\n");
      const headers = { "content-type": "multipart/form-data; boundary=frontier" };
      return post("/upload", { headers, body });
    };
    for (const _ of [1, 2]) expect(await (await upload("a file")).text()).toBe("a file, run 1");
    expect((await upload("another")).status).toBe(422);
  });
});
