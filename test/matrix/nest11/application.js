// An application of Nest in plain JavaScript, without a compiler's metadata, of the packages it gets.

/** Serves it on a port of its own choice, and prints the address. */
export async function serve({ common, core, latchkey, memory, nest }) {
  class Payments {
    runs = 0;
    pay(idempotency) {
      this.runs += 1;
      return { run: this.runs, attempt: idempotency.attempt };
    }
  }
  const pay = Object.getOwnPropertyDescriptor(Payments.prototype, "pay");
  nest.IdempotencyOf()(Payments.prototype, "pay", 0);
  nest.Idempotent({ required: true })(Payments.prototype, "pay", pay);
  common.Post()(Payments.prototype, "pay", pay);
  common.Controller("payments")(Payments);

  class App {
    name = "app";
  }
  const engine = latchkey.createEngine({ store: memory.memoryStore() });
  const imports = [nest.LatchkeyModule.forRoot({ engine, scope: "public" })];
  common.Module({ imports, controllers: [Payments] })(App);

  const app = await core.NestFactory.create(App, { logger: false });
  await app.listen(0, "127.0.0.1");
  process.stdout.write(`${await app.getUrl()}\n`);
}
