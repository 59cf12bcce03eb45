/** The entry for bundlers and for Node: wasm's bytes are in JavaScript, in a chunk that loads behind the page's first call. */
import { type Abi, Line } from "./line.js";

let loading: Promise<Abi> | undefined;

export class Moorline extends Line {
  /** @internal */
  protected override load() {
    return (loading ??= import("./bytes.js")
      .then(({ instantiate }) => instantiate())
      .catch((error) => {
        // The next line may have better luck.
        loading = undefined;
        throw error;
      }));
  }
}
export { MoorlineError } from "./error.js";
export type { Receipt } from "./receipt.js";
export type * from "./types.js";
