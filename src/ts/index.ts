/** The entry for pages without a bundler: wasm is a file of its own, fetched behind the page's first call. */
import { Line } from "./line.js";
import { load } from "./load.js";

export class Moorline extends Line {
  /** @internal */
  protected override load() {
    return load();
  }
}
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type * from "./types.js";
