/** The modules of strings that `npm run generate` writes hold the files as they stand. */
import { expect, it } from "vitest";
import { generatedModules } from "../scripts/generate.ts";

it.each(generatedModules())("$path carries its files; else run npm run generate", async (one) => {
  const { href } = new URL(`../${one.path}`, import.meta.url);
  const module = (await import(/* @vite-ignore */ href)) as Readonly<Record<string, string>>;
  expect({ ...module }).toEqual(one.texts);
});
