// An application of Nest 11 on the package as it is built, in plain JavaScript: no compiler helps.
import "reflect-metadata";
import { Controller, Module, Post } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { createEngine } from "latchkey";
import { memoryStore } from "latchkey/memory";
import { Idempotent, IdempotencyOf, LatchkeyModule } from "latchkey/nest";

class Payments {
  runs = 0;
  pay(idempotency) {
    this.runs += 1;
    return { run: this.runs, attempt: idempotency.attempt };
  }
}
const pay = Object.getOwnPropertyDescriptor(Payments.prototype, "pay");
IdempotencyOf()(Payments.prototype, "pay", 0);
Idempotent({ required: true })(Payments.prototype, "pay", pay);
Post()(Payments.prototype, "pay", pay);
Controller("payments")(Payments);

class App {
  name = "app";
}
const engine = createEngine({ store: memoryStore() });
const imports = [LatchkeyModule.forRoot({ engine, scope: "public" })];
Module({ imports, controllers: [Payments] })(App);

const app = await NestFactory.create(App, { logger: false });
await app.listen(0, "127.0.0.1");
process.stdout.write(`${await app.getUrl()}\n`);
