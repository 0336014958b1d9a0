/** Operations on Express: which requests with one key are the same, wherever the guard stands. */
import type { Request, Response } from "express";
import { describe, expect, it } from "vitest";
import { idempotent } from "../../src/adapters/express.ts";
import { expresses, listenExpress, openEngine } from "../support/express-server.ts";

/** A guard, and a handler that says where and how often it has run. */
function stage() {
  let runs = 0;
  const guard = idempotent(openEngine(), { scope: "public" });
  const handler = (req: Request, res: Response) => {
    runs += 1;
    res.send(`${req.originalUrl} ${runs}`);
  };
  return { guard, handler };
}

describe.each(expresses)("routes on %s", (_name, framework) => {
  it("of mounted routers are told apart by their full pattern (B-58, B-59)", async () => {
    const { guard, handler } = stage();
    const app = framework();
    for (const mount of ["/orders", "/refunds"]) {
      app.use(mount, framework.Router().post("/:id/capture", guard, handler));
    }
    const post = await listenExpress(app);
    expect(await (await post("/orders/1/capture")).text()).toBe("/orders/1/capture 1");
    expect(await (await post("/refunds/1/capture")).text()).toBe("/refunds/1/capture 2");
    expect((await post("/orders/2/capture")).status).toBe(422);
    expect((await post("/orders/1/capture?a=1")).status).toBe(422);
    expect(await (await post("/orders/1/capture")).text()).toBe("/orders/1/capture 1");
  });

  it("of nested routers with parameters and prefixes, too (B-58, B-59)", async () => {
    const { guard, handler } = stage();
    const items = framework.Router({ mergeParams: true });
    items.route("/:item").post(guard, handler).patch(guard, handler);
    const shops = framework.Router().use("/:shop/items", items);
    const post = await listenExpress(framework().use("/v1/shops", shops).use("/v2/shops", shops));
    expect(await (await post("/v1/shops/a/items/1")).text()).toBe("/v1/shops/a/items/1 1");
    expect(await (await post("/v2/shops/a/items/1")).text()).toBe("/v2/shops/a/items/1 2");
    const patch = await post("/v1/shops/a/items/1", { method: "PATCH" });
    expect(await patch.text()).toBe("/v1/shops/a/items/1 3");
    expect((await post("/v1/shops/a/items/2")).status).toBe(422);
    expect(await (await post("/v1/shops/b/items/1")).text()).toBe("/v1/shops/b/items/1 4");
    expect(await (await post("/v1/shops/a/items/1")).text()).toBe("/v1/shops/a/items/1 1");
  });
});

describe.each(expresses)("routes behind one guard on %s", (_name, framework) => {
  it("never replay to each other (B-59)", async () => {
    const { guard, handler } = stage();
    const app = framework().use(guard).post("/orders", handler).post("/refunds", handler);
    app.use("/api", framework.Router().post("/orders/:id", handler));
    const post = await listenExpress(app);
    const paths = ["/orders", "/refunds", "/api/orders/1", "/api/orders/2"];
    for (const [index, path] of paths.entries()) {
      expect(await (await post(path)).text()).toBe(`${path} ${index + 1}`);
    }
    for (const [index, path] of paths.entries()) {
      const retry = await post(path);
      expect(retry.headers.get("idempotency-replayed")).toBe("true");
      expect(await retry.text()).toBe(`${path} ${index + 1}`);
    }
  });

  it("are told apart behind another route, too (B-59)", async () => {
    const { guard, handler } = stage();
    const app = framework();
    app.all(/.*/, (_req, _res, next) => next()); // leaves its route on the request
    app.use(guard).post("/orders", handler).post("/refunds", handler);
    const post = await listenExpress(app);
    expect(await (await post("/orders")).text()).toBe("/orders 1");
    expect(await (await post("/refunds")).text()).toBe("/refunds 2");
  });

  it("mounted are told apart by their full path (B-59)", async () => {
    const { guard, handler } = stage();
    const routes = framework.Router().post("/orders", handler);
    const app = framework().use("/a", guard, routes).use("/b", guard, routes);
    const post = await listenExpress(app);
    expect(await (await post("/a/orders")).text()).toBe("/a/orders 1");
    expect(await (await post("/b/orders")).text()).toBe("/b/orders 2");
  });

  it("given as several patterns are one operation for each path (B-58)", async () => {
    const { guard, handler } = stage();
    const post = await listenExpress(framework().post(["/old", /^\/new$/], guard, handler));
    expect(await (await post("/old")).text()).toBe("/old 1");
    expect((await post("/new")).status).toBe(422);
    expect(await (await post("/old")).text()).toBe("/old 1");
  });

  it("are left by next('route') with the guard still on (B-78)", async () => {
    const { guard, handler } = stage();
    const app = framework();
    app.post("/r", guard, (_req, _res, next) => next("route"));
    const post = await listenExpress(app.post("/r", handler));
    expect(await (await post("/r")).text()).toBe("/r 1");
    expect(await (await post("/r")).text()).toBe("/r 1");
  });
});
