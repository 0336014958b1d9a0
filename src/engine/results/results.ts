/** The door `latchkey/results`: what recorded results may look like at rest. */
export { compressed, compressedDefaults } from "./compressed.ts";
export type { CompressedOptions } from "./compressed.ts";
export { encrypted } from "./encrypted.ts";
export type { EncryptedOptions } from "./encrypted.ts";
export type { ResultCodec, ResultPlace } from "./result-codec.ts";
