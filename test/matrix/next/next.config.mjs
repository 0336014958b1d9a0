/** The app of the test: its packages are those of `test/matrix/next`, one folder above. */
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

export default { outputFileTracingRoot: root, turbopack: { root } };
