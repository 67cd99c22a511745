// What the scripts share: finding the packages, and a promise with a time limit.

import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Imports a file below the cache's node_modules. */
export function load(path) {
  return import(pathToFileURL(join(process.env.TELSON_INTEROP, "node_modules", path)));
}

/** The promise, or a failure that says what did not come. */
export function within(promise, what, seconds = 30) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Prints the result for the test and ends the process. */
export async function report(work) {
  try {
    process.stdout.write(JSON.stringify(await work(), null, 2) + "\n", () => process.exit(0));
  } catch (error) {
    process.stderr.write(`${error.stack ?? error}\n${JSON.stringify(error, null, 2)}\n`, () => process.exit(1));
  }
}
