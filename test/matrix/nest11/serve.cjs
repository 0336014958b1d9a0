// The application in CommonJS, as most of Nest 11 are: Node requires the modules of this package.
require("reflect-metadata");

void require("./application.js").serve({
  common: require("@nestjs/common"),
  core: require("@nestjs/core"),
  latchkey: require("latchkey"),
  memory: require("latchkey/memory"),
  nest: require("latchkey/nest"),
});
