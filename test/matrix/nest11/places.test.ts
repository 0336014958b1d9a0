/** The rules of every adapter on Node once more, on Nest 11. */
import "../../adapters/server.test.ts";
import "../../adapters/options.test.ts";
import "../../transactions/http.test.ts";
